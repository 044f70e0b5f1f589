"""From reconstructed windows to beats: combine, detect, gate, summarise. No I/O."""
