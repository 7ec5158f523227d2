"""Machine images: baked on a machine of an ordinary run, tested from a launch, and only then given their name."""
