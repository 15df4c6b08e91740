"""The worker and the way of a job through it."""
