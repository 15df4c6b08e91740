"""The running supervisor: the loop, its state directory, systemd, crash records."""
