"""Training data: recordings, reference beats, windows and batches."""
