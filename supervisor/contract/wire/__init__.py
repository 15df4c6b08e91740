"""The messages between processes and how they are framed."""
