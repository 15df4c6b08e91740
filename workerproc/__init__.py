"""The worker: transcribes audio files with faster-whisper, without network access or credentials.

`python -m workerproc` is the worker process of a slot; its other verbs (`fetch`, `check`, `format`) are
short-lived child processes of the command line. It imports `supervisor.contract` and no other package of
this project.
"""
