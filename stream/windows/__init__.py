"""From samples to conditioned windows: resample, cut, condition, assess. No I/O."""
