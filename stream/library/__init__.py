"""The functions that people import: an array, a sensor, a recording, a run with sinks of one's own.

Their names are those of `innpar` and `innpar.stream`.
"""
