"""Simulated wearer: circulation, wristband and device."""
