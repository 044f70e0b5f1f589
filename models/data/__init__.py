"""Training recordings and how they are read."""
