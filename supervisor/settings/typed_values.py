"""Converts a source's value to the setting's type. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from supervisor.contract import codec

if TYPE_CHECKING:
    from supervisor.settings.sources import FoundSetting

LIST, NUMBERS, MAPPING = (
    tuple[str, ...],
    tuple[float, ...],
    dict[str, str],
)  # types of settings with more than one value
_EXPECTED: Mapping[Any, str] = {
    int: "an integer", float: "a number", str: "a string in quotes", bool: "true or false",
    LIST: "a list of strings in quotes", NUMBERS: "a list of numbers",
    MAPPING: 'a table of strings, such as { NAME = "text" }',
}  # fmt: skip


def typed(found: FoundSetting, kind: type) -> Any:
    """Give the value as `kind`, parsed from a string if the source has only strings.

    Raises ValueError with a text that says what is expected.
    """
    value = found.value
    try:
        if found.is_text and kind in (int, float):
            value = kind(value)
        if kind == LIST and found.is_text:
            value = [part.strip() for part in value.split(",") if part.strip()]
        elif kind == LIST and isinstance(value, list):
            value = [str(item) if type(item) is int else item for item in value]  # a GPU's index
        return codec.check_value(kind, value)
    except ValueError:
        raise ValueError(f"{str(found.value)[:60]!r} is not {_EXPECTED[kind]}") from None


def value_of(settings: Any, key: str) -> Any:
    """Give the value of a setting by its `table.key`."""
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings
