"""What settings and workers agree on about engines."""
