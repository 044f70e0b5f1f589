"""Recorded sessions: record, inspect, edit, plot, export, report."""
