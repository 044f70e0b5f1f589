"""The MQTT connection: sink, delivery, spool, broker."""
