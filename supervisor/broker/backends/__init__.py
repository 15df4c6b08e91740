"""The two backends: embedded (SQLite and folders), and AWS."""
