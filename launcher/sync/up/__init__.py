"""Trees up."""
