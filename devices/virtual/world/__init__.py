"""What a virtual sensor is exposed to: light and faults."""
