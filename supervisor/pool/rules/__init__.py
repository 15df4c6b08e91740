"""The rules of the pool, each in a file of its own. PURE."""
