"""The worker process: startup, socket to the supervisor, progress, error classes."""
