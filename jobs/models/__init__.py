"""The models, one a file: a docstring with the source, SETTINGS, and `build(config)`."""
