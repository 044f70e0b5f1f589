"""The stages of one wearer, and the loop that runs them."""
