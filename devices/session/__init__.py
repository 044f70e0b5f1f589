"""Our own session files: read, write, replay."""
