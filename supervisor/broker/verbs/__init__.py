"""Short-lived verbs of the command line that need the backend."""
