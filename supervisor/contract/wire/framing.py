"""JSON lines with a size limit, the framing of every socket. PURE.

The code performs no I/O, so that the asyncio supervisor and the threaded children share it. A line that is
too long or invalid ends the connection: what follows it cannot be trusted.
"""

from __future__ import annotations

import json
from typing import Any

MAX_LINE_BYTES = 1_048_576  # messages carry paths, not contents: real ones are under 64 KiB


class BadLine(ValueError):
    """A line is invalid or too long; the text says why. Close the connection."""


def encode_line(plain: Any) -> bytes:
    """Serialize parsed JSON as one line, including the newline. Raises `BadLine`.

    Lone surrogates are allowed: they occur in JSON from queues ("\\ud800") and in file names, and must not
    prevent a message from being forwarded.
    """
    try:
        data = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise BadLine(f"can't be written as JSON: {error}") from error
    line = data.encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise BadLine(f"message of {len(line)} bytes, the limit is {MAX_LINE_BYTES}")
    return line


def decode_line(line: bytes) -> dict[str, Any]:
    """Parse one line (without its newline) as a JSON object. Raises `BadLine`."""
    try:
        plain = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {str(error)[:120]}") from error
    if not isinstance(plain, dict):
        raise BadLine(f"expected an object, got {type(plain).__name__}")
    return plain


class LineSplitter:
    """Splits a stream of bytes into lines and keeps an incomplete one."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add data; return the lines that it completes, without newlines. Raises `BadLine`."""
        self._rest += data
        if b"\n" not in data:
            self._check(len(self._rest))
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in (*lines, rest):
            self._check(len(line))
        return lines

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max:
            raise BadLine(f"line of over {self._max} bytes")
