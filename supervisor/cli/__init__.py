"""The commands of `rem-supervisor` and the text they print. The service imports none of it."""
