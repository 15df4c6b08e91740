"""`python -m workerproc format FORMAT`: converts a stored transcript from stdin to stdout."""

from __future__ import annotations

import json
import sys

from supervisor.contract.exits import Exit
from workerproc.transcripts import formats


def main(form: str) -> int:
    """Convert stdin; return the exit code. Errors are printed to stderr."""
    if form not in formats.FORMATS:
        print(f"format {form!r} is not known; write one of: {', '.join(formats.FORMATS)}", file=sys.stderr)
        return Exit.USAGE
    try:
        transcript = json.loads(sys.stdin.buffer.read().decode("utf-8"))
        text = formats.FORMATS[form](transcript)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"stdin is not a transcript: {type(error).__name__}: {error}", file=sys.stderr)
        return Exit.FAILED
    sys.stdout.buffer.write(text.encode("utf-8"))
    if not text.endswith("\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return Exit.OK
