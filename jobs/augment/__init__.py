"""Rows that never were: pictures moved, turned and mirrored, as their classes or key points allow."""

from jobs.augment.catalogue import AUGMENTATIONS, NAMES, Augment, check, find

__all__ = ["AUGMENTATIONS", "NAMES", "Augment", "check", "find"]
