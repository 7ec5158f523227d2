"""Trees where the machine has no python3."""
