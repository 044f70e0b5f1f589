"""Session report: one self-contained HTML file to read and print."""
