"""What people type and what they read: the verbs of `rem-supervisor`. The service imports none of it."""
