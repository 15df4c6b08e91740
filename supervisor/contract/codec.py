"""Converts frozen dataclasses to JSON and back; checks every type and bound on input. PURE.

Supports the field types that messages and settings use: str, int, float, bool, Optional, tuple[T, ...],
dict[str, str], enums of str, and frozen dataclasses of these. Any other field type is a programming error and
raises TypeError at first use. Input that does not fit raises `BadValue`, which names the field.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from typing import Any, Optional, TypeVar, Union

T = TypeVar("T")

MAX_TEXT_CHARS = 65_536
MAX_ITEMS = 10_000
MAX_NUMBER = 2**63  # 64-bit integers: other programs support no larger ones

_PLAIN = frozenset((str, int, float, bool, type(None)))
_FIELD_NAMES: dict[type, tuple[str, ...]] = {}  # cached: every message needs them
_FIELD_TYPES: dict[type, dict[str, Any]] = {}  # cached: resolving them takes longer than converting a message


class BadValue(ValueError):
    """An input value that does not fit its field. The text names the field and what is expected."""


def to_plain(value: Any) -> Any:
    """Convert a dataclass, or the value of one of its fields, for `json.dumps`."""
    cls = type(value)
    if cls in _PLAIN:
        return value
    names = _FIELD_NAMES.get(cls)
    if names is None and dataclasses.is_dataclass(cls):
        names = _FIELD_NAMES[cls] = tuple(field.name for field in dataclasses.fields(cls))
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(cls: type[T], plain: Any, where: str = "") -> T:
    """Build `cls` from parsed JSON; unknown, missing and mistyped fields raise `BadValue`."""
    where = where or cls.__name__
    if not isinstance(plain, dict):
        raise BadValue(f"{where}: expected an object, got {type(plain).__name__}")
    hints = field_types(cls)
    unknown = sorted(set(plain) - set(hints))
    if unknown:
        raise BadValue(f"{where}: unknown field {unknown[0][:60]!r}")
    values = {name: _checked(hints[name], item, f"{where}.{name}") for name, item in plain.items()}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass by contract
        no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if no_default and field.name not in values:
            raise BadValue(f"{where}: field {field.name!r} is missing")
    return cls(**values)


def field_types(cls: type) -> dict[str, Any]:
    """Return the resolved annotation of each field of a dataclass."""
    if cls not in _FIELD_TYPES:
        hints = typing.get_type_hints(cls)
        _FIELD_TYPES[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _FIELD_TYPES[cls]


def check_value(kind: Any, value: Any) -> Any:
    """Return one parsed value as the field type `kind`, or raise `BadValue`."""
    return _checked(kind, value, "")


def _checked(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as type `kind`, or raise `BadValue` naming `where`."""
    origin = typing.get_origin(kind)
    if origin is Union:
        return _checked_optional(kind, value, where)
    if origin is tuple:
        return _checked_items(kind, value, where)
    if origin is dict:
        return _checked_mapping(kind, value, where)
    if dataclasses.is_dataclass(kind):
        return from_plain(typing.cast(Any, kind), value, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _checked_enum(kind, value, where)
    return _checked_scalar(kind, value, where)


def _checked_optional(kind: Any, value: Any, where: str) -> Optional[Any]:
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"{where}: only Optional[T] is supported, not {kind}")
    return None if value is None else _checked(inner[0], value, where)


def _checked_items(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise BadValue(f"{where}: expected a list, got {type(value).__name__}")
    if len(value) > MAX_ITEMS:
        raise BadValue(f"{where}: {len(value)} items, more than {MAX_ITEMS}")
    inner = typing.get_args(kind)[0]
    return tuple(_checked(inner, item, f"{where}[{n}]") for n, item in enumerate(value))


def _checked_mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    inner = typing.get_args(kind)[1]
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise BadValue(f"{where}: expected an object of {'strings' if inner is str else 'numbers'}")
    return {
        _checked_scalar(str, key, f"{where} (a key)"): _checked_scalar(inner, item, f"{where}.{key[:60]}")
        for key, item in value.items()
    }


def _checked_enum(kind: type[enum.Enum], value: Any, where: str) -> enum.Enum:
    try:
        return kind(value)
    except ValueError:
        raise BadValue(f"{where}: {value!r} is not one of {[str(k.value) for k in kind]}") from None


def _checked_scalar(kind: Any, value: Any, where: str) -> Any:
    if type(value) in (int, float) and not -MAX_NUMBER < value < MAX_NUMBER:
        raise BadValue(f"{where}: not a number, or out of range")
    if kind is float and type(value) is int:
        return float(value)
    if kind not in (str, int, float, bool):
        raise TypeError(f"{where}: fields of type {kind} are not supported")
    if type(value) is not kind:
        raise BadValue(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    if kind is str and len(value) > MAX_TEXT_CHARS:
        raise BadValue(f"{where}: {len(value)} characters, more than {MAX_TEXT_CHARS}")
    return value
