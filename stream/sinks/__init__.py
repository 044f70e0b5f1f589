"""Where results go besides MQTT: terminal, JSON lines, LSL."""
