"""MQTT messages: results as payloads, payloads as commands. No network."""
