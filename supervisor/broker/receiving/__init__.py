"""Receiving: from the queue to a job that is Ready for a slot."""
