"""The control socket and its protocol."""
