"""``innpar-stream bench --wearers``: the wearers that this computer serves, bytes to MQTT."""
