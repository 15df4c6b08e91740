"""Every setting, its rules and its sources."""
