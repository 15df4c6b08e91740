"""Bounds and choices of a dataclass's fields, declared beside the default. PURE.

The declaration is all that a new setting or option needs: `broken_fields` checks every field that has one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)
_SHOWN_CHARS = 40


def bounded(default: Number, low: float, high: float) -> Number:
    """Declare a numeric field with values from `low` to `high`, inclusive."""
    return dataclasses.field(default=default, metadata={"bounds": (low, high)})


def one_of(*choices: str, default: str = "") -> str:
    """Declare a field with one of a few strings; without `default`, the first is the default."""
    return dataclasses.field(default=default or choices[0], metadata={"choices": choices})


def broken_fields(value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield each field that violates its declaration: its name, what is wrong, and the fix."""
    for one in dataclasses.fields(value):
        found = getattr(value, one.name)
        low, high = one.metadata.get("bounds", (None, None))
        choices = one.metadata.get("choices")
        if choices and found not in choices:
            text = f"{found[:_SHOWN_CHARS]!r} is not a valid value"
            yield one.name, text, f"Write one of: {', '.join(choices)}"
        elif low is not None and not low <= found <= high:
            yield one.name, f"{found} is out of range", f"Write a number from {low} to {high}"
