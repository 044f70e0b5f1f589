"""One run: its settings, its devices, its parts put together."""
