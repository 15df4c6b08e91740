"""Engines behind one port, with one model for many jobs, and the batching of their calls."""
