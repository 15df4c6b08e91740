"""Checkpoints, from which another worker resumes a job, and the parts of a split recording."""
