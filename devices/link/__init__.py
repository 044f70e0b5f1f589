"""Transports: Bluetooth, serial ports, reconnection."""
