"""rem-supervisor: keeps one transcription worker on each GPU and loses no recording.

This package shares its import name with PyPI's `supervisor` (supervisord): the two
cannot live in one virtual environment. Ours has its own, see README.md.
"""

__version__ = "0.1.0"
