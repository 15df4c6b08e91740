"""From the queue to a job that is ready for a slot."""
