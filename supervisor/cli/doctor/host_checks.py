"""The doctor's checks of this host that need no library; each gives a `Finding`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.cli.client.name_clash import explain
from supervisor.cli.text.text_format import bytes_text
from supervisor.contract import clock, timestamps
from supervisor.contract.finding import Finding

if TYPE_CHECKING:
    from supervisor.settings.load import Loaded
    from supervisor.settings.schema import Settings

# Chosen without measurement: the local database, stack dumps, and one recording in progress.
LEAST_FREE_BYTES = 300 * 1024**2
_SANE_UNIX_S = 1_704_067_200  # the start of 2024: a clock before it was never set


def of_interpreter() -> Iterator[Finding]:
    """Check Python itself, and packages that conflict with ours."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.maxsize < 2**32:
        yield Finding("python", "fail", f"{version}, 32 bit", "Use a 64-bit Python; the engine needs it")
    else:
        yield Finding("python", "ok", f"{version} ({sys.executable})")
    yield of_import_name(sys.path)


def of_import_name(path: list[str]) -> Finding:
    """Say whether PyPI's `supervisor`, which has our import name, is in this environment."""
    clash = explain(path)
    if clash:
        what, _, cure = clash.partition(". ")
        return Finding("import name", "fail", what, cure)
    return Finding("import name", "ok", "no other package named supervisor")


def of_settings(loaded: Loaded, whose: str = "") -> Finding:
    """Summarize the settings and their sources."""
    sources = sorted(set(loaded.origins.values()) - {"default"})
    kind, model = loaded.settings.backend.kind, loaded.settings.transcription.model
    told = f", from {', '.join(sources)}" if sources else ", all defaults"
    return Finding("settings", "ok", f"{whose}backend {kind}, model {model}{told}")


def of_state_dir(in_force: Settings, is_in_use: bool = False) -> Finding:
    """Check that the state directory is writable and has enough space.

    `is_in_use`: a service uses it, perhaps as another user.
    """
    state_dir = Path(in_force.state_dir)
    nearest = next(path for path in (state_dir, *state_dir.parents) if os.path.exists(path))
    if not is_in_use and (not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK)):
        return Finding(
            "state directory",
            "fail",
            f"{state_dir} can't be {'written' if nearest == state_dir else 'created'} by this user",
            "Make it writable for the service's user, or set REM_STATE_DIR to a folder that is",
        )
    free, limit = shutil.disk_usage(nearest).free, in_force.spool.limit_bytes
    detail = f"{state_dir}, {bytes_text(free)} free"
    if free < LEAST_FREE_BYTES:
        return Finding(
            "state directory", "fail", detail, "Free some space, or set REM_STATE_DIR to another disk"
        )
    if free < limit:
        cure = f"Set [spool] limit_bytes below {free}, or free some space"
        return Finding(
            "state directory", "warn", f"{detail}; the spool may grow to {bytes_text(limit)}", cure
        )
    return Finding("state directory", "ok", detail)


def of_clocks() -> Finding:
    """Check this host's clocks."""
    if clock.wall_unix_s() < _SANE_UNIX_S:
        now = timestamps.iso_utc(clock.wall_unix_s())
        return Finding(
            "clock", "fail", f"the system clock says {now}", "Set the clock; otherwise AWS rejects requests"
        )
    if not hasattr(time, "CLOCK_BOOTTIME"):
        cure = "No action needed if this machine never sleeps"
        return Finding(
            "clock", "warn", "no boot-time clock: deadlines do not advance while the machine sleeps", cure
        )
    return Finding("clock", "ok", "boot-time clock")
