"""From samples to conditioned windows: resample, window, condition, judge. No I/O."""
