"""What the pool knows: slots, jobs, events, actions. PURE."""
