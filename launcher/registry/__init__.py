"""Weights that live on: versions with a pedigree, one champion a name, and a log of how it came to be.

Nothing is imported here, so that a service that reads the champion loads numpy and no more.
"""
