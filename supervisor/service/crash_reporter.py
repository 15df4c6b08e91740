"""Writes log lines and crash records after the pool's decisions were carried out.

Facts are collected at once and written a moment later: writing uses a core and the disk while the
replacement of a dead worker starts, which has priority. A reader of records always gets all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Optional, Union

from supervisor.contract import clock
from supervisor.contract.exits import describe
from supervisor.pool.state import events as ev
from supervisor.pool.state.jobs import Death
from supervisor.processes import child_specs
from supervisor.service.crash_records import CrashLog, CrashRecord, LastLines

log = logging.getLogger(__name__)

WRITE_AFTER_S = 0.005  # a small replacement process runs its first statement within 3 ms


class CrashReporter:
    """Collects the pool's log lines and crashes, in order; writes them after a short delay or on request.

    `device_of` returns the status of a slot's device.
    """

    def __init__(self, state_path: Path, device_of: Callable[[str], Optional[dict[str, Any]]]) -> None:
        self.last_words = LastLines()
        self._state_path = state_path
        self._device_of = device_of
        self._crashes = CrashLog(state_path / "crashes")
        self._unsaid: list[Union[ev.Note, CrashRecord]] = []
        self._timer: Optional[asyncio.TimerHandle] = None

    def take(self, words: Iterable[Union[ev.Note, ev.Crashed]]) -> None:
        """Keep log lines and crashes with their current facts, to be written soon."""
        self._unsaid += [self._record(word) if isinstance(word, ev.Crashed) else word for word in words]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER_S, self.write)

    def write(self) -> None:
        """Write everything that is pending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unsaid, self._unsaid = self._unsaid, []
        for word in unsaid:
            if isinstance(word, CrashRecord):
                self._keep(word)
            else:
                log.log(logging.getLevelName(word.level.upper()), word.sentence, extra=dict(word.facts))

    def join_xid(self, uuid: str, xid: int) -> None:
        """Add an XID to the records of processes that exited just before it was reported."""
        self.write()
        self._crashes.join(uuid, xid, clock.wall_unix_s())

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the newest crash records, newest first."""
        self.write()
        return self._crashes.newest(count)

    def _record(self, crash: ev.Crashed) -> CrashRecord:
        """Collect the facts of an exit while they are available."""
        stalled = crash.death == Death.STALL.value
        return CrashRecord(
            slot=crash.was.name,
            pid=crash.was.pid,
            at_unix_s=round(clock.wall_unix_s(), 3),
            death=crash.death,
            ended=describe(crash.returncode),
            reason=crash.was.reason,
            lived_s=round(clock.now_s() - crash.was.spawned_at_s, 3),
            out_of_memory=crash.out_of_memory,
            jobs=crash.jobs,
            last_lines=self.last_words.of(crash.was),
            device=self._device_of(crash.was.name),
            xids=crash.xids,
            stacks_path=child_specs.stacks_path(self._state_path, crash.was.name) if stalled else None,
        )

    def _keep(self, record: CrashRecord) -> None:
        try:
            record = self._crashes.keep(record)
        except OSError as error:
            log.warning(
                "crash record not written",
                extra={"event": "crash-record-not-written", "slot": record.slot, "reason": str(error)},
            )
        facts = {"slot": record.slot, "pid": record.pid, "death": record.death, "ended": record.ended}
        more = {"out_of_memory": record.out_of_memory, "jobs": ", ".join(record.jobs)}
        if record.xids:
            more["xids"] = ", ".join(map(str, record.xids))
        if record.device and record.device["uuid"]:
            more["device_uuid"] = record.device["uuid"]
        log.warning(
            "child process exited unexpectedly",
            extra={"event": "child-exited", **facts, **more, "stacks": record.stacks_path},
        )
