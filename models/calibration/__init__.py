"""Cuff readings: context for the network, corrections and intervals for its output."""
