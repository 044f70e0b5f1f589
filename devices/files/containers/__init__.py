"""Recordings in general-purpose containers."""
