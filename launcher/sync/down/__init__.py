"""Trees home."""
