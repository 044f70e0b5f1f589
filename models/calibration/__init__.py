"""What a cuff reading tells the network, and what it does to its output."""
