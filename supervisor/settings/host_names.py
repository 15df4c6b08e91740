"""Validates names that must exist on this host, such as the control group."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.settings.rules import Problem
from supervisor.settings.schema import Settings


def check_host(settings: Settings) -> Iterator[Problem]:
    """Give every name that does not exist on this host."""
    group = settings.control.group
    if group and not _has_group(group):
        cure = f"Create it (groupadd {group}), name another, or leave it empty to allow this user only"
        yield "control.group", f"there is no group {group!r} on this host", cure


def _has_group(name: str) -> bool:
    import grp  # reads the host's user database: only if a group is named

    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in it
        return False
    return True
