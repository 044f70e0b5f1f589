"""The cuff reading: its effect on the pressures, its check, and its storage."""
