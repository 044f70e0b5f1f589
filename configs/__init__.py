"""Configuration files: default.toml and one file per device with only what differs from it."""
