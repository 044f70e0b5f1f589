"""JSON schemas of the MQTT messages."""
