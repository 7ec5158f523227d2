"""Retraining with the laptop off: what stands in the account for it, and what its machines do by themselves."""
