"""Where a recording stands, and the parts of a long one."""
