"""Decides for the whole host: one event in, actions out. PURE."""
