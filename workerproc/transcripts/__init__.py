"""The transcript: contents, output formats, writing it into the job folder."""
