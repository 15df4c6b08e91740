"""The jobs that the broker holds: in memory, in lease files, in the spool."""
