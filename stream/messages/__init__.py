"""The MQTT contract: results as payloads, payloads as commands. No network."""
