"""Methods that look at the whole training set at once, for small models; `catalogue` knows their names."""
