"""Settings that take effect on `reload`, and the differences between two sets of settings. PURE."""

from __future__ import annotations

import dataclasses
from typing import Any

from supervisor.settings.schema import TranscriptionSettings

# What the service itself goes by: how many jobs a worker is given, and which slots share calls.
_NEED_A_RESTART = frozenset({"profile", "batch_size"})
ROLLED = (
    *(
        f"transcription.{one.name}"
        for one in dataclasses.fields(TranscriptionSettings)
        if one.name not in _NEED_A_RESTART
    ),
    "devices.cpu_threads",
)
"""Settings that a new worker takes up. All others need a restart of the service."""


def changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Name the settings (`table.key`) in which two `Settings` differ."""
    keys: list[str] = []
    for item in dataclasses.fields(old):
        was, now = getattr(old, item.name), getattr(new, item.name)
        if was == now:
            continue
        name = f"{prefix}{item.name}"
        keys += changed_keys(was, now, f"{name}.") if dataclasses.is_dataclass(was) else [name]
    return keys


def with_rolled(old: Any, new: Any) -> Any:
    """Give `old` with the settings that workers can take up now replaced by those of `new`."""
    for key in ROLLED:
        table, name = key.split(".")
        value = getattr(getattr(new, table), name)
        old = dataclasses.replace(old, **{table: dataclasses.replace(getattr(old, table), **{name: value})})
    return old
