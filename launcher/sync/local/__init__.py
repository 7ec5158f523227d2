"""The laptop's side of a tree: what it holds, what stays at home, what is remembered."""
