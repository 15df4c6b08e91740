"""Path of the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from supervisor.settings.sources import first, read_sources

NAME = "REM_STATE_DIR"


class NoHome(ValueError):
    """The path contains `~`, but this user has no home directory; the text names the path."""


def state_dir(given: str, environ: Mapping[str, str]) -> str:
    """Give the full path: `given`, else systemd's, else in the XDG state folder. Raises `NoHome`."""
    chosen = given or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if not chosen:
        base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or '~'}/.local/state"
        chosen = f"{base}/rem-supervisor"
    try:
        return str(Path(chosen).expanduser().absolute())
    except RuntimeError:  # no such user: seen in containers with an arbitrary uid
        raise NoHome(f"{chosen} can't be resolved: this user has no home directory") from None


def of_command(config: Optional[str], environ: Mapping[str, str]) -> Optional[str]:
    """Give the state directory without reading the other settings, which may be invalid.

    None: a source can't be read; `load_settings` reports what is wrong.
    """
    wrong: list[str] = []
    found = first("state_dir", NAME, read_sources(config, environ, lambda *what: wrong.append(what[0])), {})
    given = found.value if found else ""
    if wrong or not isinstance(given, str):
        return None
    try:
        return state_dir(given, environ)
    except NoHome:
        return None
