"""Colour and redrawn lines on a terminal; neither in a pipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import IO

from supervisor.cli.text.text_format import Paint, plain, shorten

_CODES = {"good": "32", "warn": "33", "bad": "31", "faint": "2", "bold": "1"}


def is_terminal(stream: IO[str]) -> bool:
    """Say whether `stream` is a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except ValueError:  # closed
        return False


def paint_for(stream: IO[str], environ: Mapping[str, str]) -> Paint:
    """Give the paint for `stream`: colour on a terminal, unless NO_COLOR is set."""
    return _coloured if is_terminal(stream) and not environ.get("NO_COLOR") else plain


def _coloured(text: str, style: str) -> str:
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


class LiveLines:
    """A few lines at the bottom of a terminal that are redrawn; nothing in a pipe."""

    def __init__(self, stream: IO[str]) -> None:
        self.live = is_terminal(stream)
        self._stream = stream
        self._drawn = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the last lines by `lines`."""
        if not self.live:
            return
        size = shutil.get_terminal_size()
        kept = [shorten(line, size.columns - 1) for line in lines[-max(size.lines - 2, 1) :]]
        self.clear()
        self._stream.write("".join(f"{line}\n" for line in kept))
        self._stream.flush()
        self._drawn = len(kept)

    def clear(self) -> None:
        """Erase the lines, so that other output can be printed."""
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._stream.flush()
            self._drawn = 0
