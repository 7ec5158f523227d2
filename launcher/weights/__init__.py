"""Trained weights, {name: array}: opened without running anything of theirs, converted, written whole or not at all."""

from launcher.weights.store import WeightsFormat, convert, copy, find, load, save, target_folder

__all__ = ["WeightsFormat", "convert", "copy", "find", "load", "save", "target_folder"]
