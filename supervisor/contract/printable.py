"""Text that can't steer a terminal or hide in one: ids and names come from queues and files. PURE."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Put `?` for each character that prints nothing by itself, but those to `keep`.

    Controls, the characters that turn the direction of writing (U+202E, U+2066), those without a width
    (U+200B, U+FEFF), line and paragraph separators, lone surrogates, and whatever Unicode has not assigned.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or char.isprintable() else "?" for char in text)


def printable_lines(text: str) -> list[str]:
    """Give the lines of a text of several, each printable. Only a line feed ends a line."""
    return [printable(line) for line in text.split("\n")]


def escaped(text: str) -> str:
    """Write what is not printable as TOML and JSON write it in a string: nothing is lost."""
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
