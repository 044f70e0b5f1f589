"""EmotiBit, over UDP and TCP."""
