"""The jobs in flight: in memory, in lease files, and in the spool."""
