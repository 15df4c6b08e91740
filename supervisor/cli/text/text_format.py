"""Formats figures and tables for people. PURE.

Every function accepts any value, because JSON may lack a value or have one of the wrong
type, and returns text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Optional

from supervisor.contract import printable as characters

Paint = Callable[[str, str], str]  # (text, style) -> text; styles: good, warn, bad, faint, bold
UNKNOWN = "-"


def plain(text: str, _style: str) -> str:
    """The paint for pipes: none."""
    return text


def number(value: Any) -> Optional[float]:
    """Give `value` where it is a number, else None."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def printable(value: Any) -> str:
    """Give `value` as one line without control characters (ids come from the queue)."""
    return "" if value is None else characters.printable(str(value))


def count_text(value: Any) -> str:
    """`7`, or `-` if it is not known."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.0f}"


def bytes_text(value: Any) -> str:
    """`812M`, `1.2G`."""
    size = number(value)
    if size is None:
        return UNKNOWN
    for unit in ("", "K", "M", "G"):
        if abs(size) < 1000:
            return f"{size:.0f}{unit}" if size >= 10 or not unit else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}T"


def span_text(value: Any) -> str:
    """A length of time: `42s`, `3m12s`, `2h05m`, `4d03h`."""
    known = number(value)
    if known is None:
        return UNKNOWN
    seconds = max(0, int(known))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02}h"


def audio_text(value: Any) -> str:
    """The length of a recording: `0:07`, `71:40`; `-` while unknown."""
    known = number(value)
    if known is None or known <= 0:
        return UNKNOWN
    seconds = round(known)
    return f"{seconds // 60}:{seconds % 60:02}"


def factor_text(value: Any) -> str:
    """How many times real time: `8.4x`."""
    known = number(value)
    return UNKNOWN if known is None or known <= 0 else (f"{known:.1f}x" if known < 100 else f"{known:.0f}x")


def percent_text(value: Any) -> str:
    """`42 %`."""
    known = number(value)
    return UNKNOWN if known is None else f"{100 * min(max(known, 0.0), 1.0):.0f} %"


def bar(ratio: Any, width: int = 24) -> str:
    """`[######..................]`."""
    filled = int(min(max(number(ratio) or 0.0, 0.0), 1.0) * width)
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Align `rows` under `headers`, two spaces apart; columns named in `right` are right-aligned.

    The last column is never padded, so lines have no trailing spaces.
    """
    named_right = right.split()
    widths = [max([len(head), *(len(row[n]) for row in rows)]) for n, head in enumerate(headers)]
    return [
        "  ".join(
            cell.rjust(width) if head in named_right else cell.ljust(width)
            for head, cell, width in zip(headers, line, widths)
        ).rstrip()
        for line in (headers, *rows)
    ]


def shorten(text: str, width: int) -> str:
    """Cut `text` to `width`, with `...` at the cut."""
    return text if len(text) <= width else f"{text[: max(width - 3, 0)]}..."
