"""Inputs of a virtual sensor: light and faults."""
