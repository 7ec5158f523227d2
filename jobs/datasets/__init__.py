"""The data sets, one file format a file."""
