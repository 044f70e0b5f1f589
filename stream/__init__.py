"""From a device's samples to published beats."""
