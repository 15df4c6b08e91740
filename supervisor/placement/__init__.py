"""Which slots this host should have, and what fits on each device."""
