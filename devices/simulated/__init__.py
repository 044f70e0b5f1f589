"""The simulated wearer."""
