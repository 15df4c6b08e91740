"""Crash records: one per unexpected exit, kept on disk and shown in status.

A record holds the exit, whether memory ran out, the last output, the jobs and the state of the
device: facts that are lost a moment later. Only the newest `KEPT_MOST` records are kept.
Output lines of workers hold no transcript text.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from supervisor.pool.state.slot_types import Slot

KEPT_MOST = 50
JOIN_S = 5.0  # the driver may report an XID after the exit that it explains
LINES_MOST = 20
LINE_CHARS_MOST = 500
# What is kept of a longer log line, and how much.
_FACTS = {"time": 30, "level": 10, "message": 100, "process": 20, "reason": 300}
_STACK_CHARS_MOST = 200


@dataclass(frozen=True)
class CrashRecord:
    """One unexpected exit. `ended` describes it; `death` is crash, stall or killed-outside."""

    slot: str
    pid: int
    at_unix_s: float
    death: str
    ended: str
    reason: str
    lived_s: float
    out_of_memory: Optional[bool]  # None: not known on this host
    jobs: tuple[str, ...]
    last_lines: tuple[str, ...]
    device: Optional[Mapping[str, Any]] = None
    stacks_path: Optional[str] = None
    xids: tuple[int, ...] = ()  # that the driver recently reported for its device

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {
            **self.__dict__,
            "jobs": list(self.jobs),
            "last_lines": list(self.last_lines),
            "xids": list(self.xids),
        }


class LastLines:
    """The newest lines that the processes in each slot printed, and when."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[tuple[float, str]]] = {}

    def hear(self, name: str, line: str, now_s: float) -> None:
        lines = self._lines.setdefault(name, deque(maxlen=LINES_MOST))
        lines.append((now_s, _shortened(line)))

    def of(self, slot: Slot) -> tuple[str, ...]:
        """Return the last lines of the slot's current process, none of earlier ones."""
        return tuple(line for at_s, line in self._lines.get(slot.name, ()) if at_s >= slot.spawned_at_s)


def _shortened(line: str) -> str:
    """Cut a line; of a log line with a stack the end of the stack is kept, which is most useful."""
    if len(line) <= LINE_CHARS_MOST or not line.startswith("{"):
        return line[:LINE_CHARS_MOST]
    try:
        facts = json.loads(line)
        told = {key: str(facts[key])[:most] for key, most in _FACTS.items() if key in facts}
    except (ValueError, RecursionError):
        return line[:LINE_CHARS_MOST]
    return json.dumps({**told, "error": str(facts.get("error", ""))[-_STACK_CHARS_MOST:]})


@dataclass
class CrashLog:
    """The records in the state directory, newest last."""

    folder: Path
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_MOST))

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._paths():
            try:
                self.recent.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                path.unlink(missing_ok=True)  # incomplete: an earlier run ended while it wrote

    def keep(self, record: CrashRecord) -> CrashRecord:
        """Write a record and delete the oldest beyond the limit.

        A stack dump is moved beside it, since the slot's next worker writes to the same file;
        returns the record with the dump's new path. Raises OSError on a full disk.
        """
        path = self._path_of(record.plain())
        record = replace(record, stacks_path=_moved(record.stacks_path, path.with_suffix(".stacks.txt")))
        self.recent.append(record.plain())
        path.write_text(json.dumps(record.plain(), indent=1), encoding="utf-8")
        for old in self._paths()[:-KEPT_MOST]:
            old.unlink(missing_ok=True)
            old.with_suffix(".stacks.txt").unlink(missing_ok=True)
        return record

    def join(self, uuid: str, xid: int, now_unix_s: float) -> None:
        """Add an XID to the records of processes that exited just before it was reported."""
        for plain in self.recent:
            device = plain.get("device") or {}
            on_it = uuid in (device.get("uuid"), device.get("parent"))
            if on_it and now_unix_s - plain["at_unix_s"] <= JOIN_S and xid not in plain.get("xids", ()):
                plain["xids"] = [*plain.get("xids", ()), xid]
                with contextlib.suppress(OSError):  # a full disk: status has it
                    self._path_of(plain).write_text(json.dumps(plain, indent=1), encoding="utf-8")

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the newest records, newest first, without output lines, which are in the file `path`."""
        chosen = list(self.recent)[-count:][::-1]
        shown = ({key: value for key, value in record.items() if key != "last_lines"} for record in chosen)
        return [{**record, "path": str(self._path_of(record))} for record in shown]

    def _path_of(self, plain: Mapping[str, Any]) -> Path:
        return self.folder / f"{plain['at_unix_s']:017.3f}-{plain['slot']}.json"

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))


def _moved(stacks_path: Optional[str], to: Path) -> Optional[str]:
    """Move a stack dump; None if there is none."""
    source = Path(stacks_path) if stacks_path else None
    if source is None or not source.exists() or not source.stat().st_size:
        return None
    source.replace(to)
    return str(to)
