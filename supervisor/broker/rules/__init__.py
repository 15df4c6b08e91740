"""Decisions about messages, records, leases and failures. PURE."""
