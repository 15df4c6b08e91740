"""Loads the engine that the settings name."""
