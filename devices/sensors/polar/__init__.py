"""Polar Verity Sense and OH1, over Polar's measurement service (PMD)."""
