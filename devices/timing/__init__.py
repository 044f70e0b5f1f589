"""Sample times: sensor clocks, jitter, gaps. No I/O."""
