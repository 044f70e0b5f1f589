"""Virtual sensors, one module a protocol."""
