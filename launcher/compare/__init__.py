"""What the legs of a comparison come to: gathered, reckoned, told."""
