"""The network: a window of PPG in, a window of arterial pressure out."""
