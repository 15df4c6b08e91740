"""Copies bytes between streams with a limit, and attributes write errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from supervisor.broker.ports.errors import TryLater

_CHUNK_BYTES = 1 << 20


class Reader(Protocol):
    """A source of bytes."""

    def read(self, count: int) -> bytes: ...


class Writer(Protocol):
    """A destination for bytes."""

    def write(self, data: bytes) -> int: ...


def copy_bytes(source: Reader, target: Writer, size_bytes: int) -> int:
    """Copy at most `size_bytes`, even if the source grows meanwhile; returns the number copied."""
    left = size_bytes
    while left > 0:
        data = source.read(min(left, _CHUNK_BYTES))
        if not data:
            break
        target.write(data)
        left -= len(data)
    return size_bytes - left


@contextmanager
def spool_errors(to: Path) -> Iterator[None]:
    """Report an error of writing a file as the spool's, not as the audio's."""
    try:
        yield
    except OSError as error:
        raise TryLater("spool", f"{to.parent}: {error.strerror}") from error
