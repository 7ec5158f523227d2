"""Which rows are trained on, in which order, and how much each counts."""
