"""The worker: files in, files out. Speech to text with faster-whisper; no network, no credentials.

`python -m workerproc` is the child in a slot; its other verbs (`fetch`, `check`, `format`) are
short-lived children of the command line. Imports `supervisor.contract` and itself, nothing else of ours.
"""
