"""One module a sensor: its protocol and its driver."""
