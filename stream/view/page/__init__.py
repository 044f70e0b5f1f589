"""Files of the live page, served as they are."""
