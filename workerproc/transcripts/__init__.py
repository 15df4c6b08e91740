"""The transcript and its formats."""
