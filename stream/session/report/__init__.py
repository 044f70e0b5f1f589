"""The report of one session that people print: one HTML file that needs nothing else."""
