"""What is done for a job that is held: renewed, committed, settled, its checkpoints shared."""
