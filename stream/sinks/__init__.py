"""Sinks besides MQTT: terminal, JSON lines, LSL."""
