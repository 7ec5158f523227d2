"""What is left of runs, from the tags alone: it works with the ledger lost."""

from launcher.aws.orphans.found import KINDS, Failure, Orphan, Survey, Unsearched
from launcher.aws.orphans.removal import remove_all
from launcher.aws.orphans.survey import find, survey

__all__ = ["KINDS", "Failure", "Orphan", "Survey", "Unsearched", "find", "remove_all", "survey"]
