"""Makes text from queues and files safe to print: it cannot control a terminal or hide in one. PURE."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Replace each unprintable character with `?`, except those in `keep`.

    Unprintable are control characters, bidirectional controls (U+202E, U+2066), zero-width characters
    (U+200B, U+FEFF), line and paragraph separators, lone surrogates and unassigned code points.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or char.isprintable() else "?" for char in text)


def printable_lines(text: str) -> list[str]:
    """Split text into printable lines. Only a line feed ends a line."""
    return [printable(line) for line in text.split("\n")]


def escaped(text: str) -> str:
    """Escape unprintable characters as in TOML and JSON strings, without loss."""
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
