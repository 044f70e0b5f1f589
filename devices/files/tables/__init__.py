"""Text recordings, one sample a row."""
