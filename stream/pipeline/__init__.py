"""The stages of one wearer put together, and the loop that runs them."""
