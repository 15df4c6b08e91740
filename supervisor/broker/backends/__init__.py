"""The embedded backend (SQLite and folders) and AWS."""
