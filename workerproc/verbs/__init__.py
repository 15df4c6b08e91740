"""Short-lived verbs of the worker program: check, fetch, format."""
