"""The optimisers, one formula a file; `catalogue` knows their names without importing Keras."""
