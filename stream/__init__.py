"""Everything between a device's samples and the published beats."""
