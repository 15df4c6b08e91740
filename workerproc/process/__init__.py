"""What every worker process has: its start, its link, its progress, its errors."""
