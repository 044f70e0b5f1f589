"""Sample times: sensor clocks, jitter, gaps; and judgement of columns by name and shape. No I/O."""
