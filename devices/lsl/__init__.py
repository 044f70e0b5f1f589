"""Lab Streaming Layer: streams as devices, marker streams."""
