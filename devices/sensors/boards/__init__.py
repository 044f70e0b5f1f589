"""Development boards that print samples as lines."""
