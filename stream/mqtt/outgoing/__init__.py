"""Messages that await delivery: in memory, then on disk."""
