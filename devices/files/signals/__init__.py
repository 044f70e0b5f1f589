"""Recordings in biosignal formats: EDF, WFDB, XDF."""
