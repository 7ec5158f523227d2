"""Retraining by the clock and by new data: which fire times there are, and who acts on each of them, once."""
