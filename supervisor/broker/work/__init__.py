"""Work on jobs in flight: lease renewal, commit, settlement, checkpoint upload."""
