"""Training, cross-fit of the calibration tables, release of a model."""
