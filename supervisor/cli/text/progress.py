"""The progress of submitted recordings, as lines of text. PURE.

A terminal gets all lines, which are redrawn repeatedly; a pipe gets one line at each
quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from supervisor.cli.text.text_format import (
    UNKNOWN,
    audio_text,
    bar,
    number,
    percent_text,
    printable,
)

_NAME = 34  # columns: the whole line then fits a terminal of 80


@dataclass
class _Recording:
    file: str
    ratio: Optional[float] = None  # None: not started
    audio_s: Any = None
    quarters_told: int = 0
    ended: str = ""


class SubmissionProgress:
    """The recordings of one submission, by job id."""

    def __init__(self) -> None:
        self._recordings: dict[str, _Recording] = {}

    def queued(self, job_id: str, file: str) -> None:
        """A recording is in the queue."""
        self._recordings[job_id] = _Recording(printable(file))

    def ended(self, job_id: str, how: str) -> None:
        """A recording is `done` or `failed`."""
        if job_id in self._recordings:
            self._recordings[job_id].ended = how

    def seen(self, status: Any) -> list[str]:
        """Read a status of the service; give a line for each quarter that was passed since the last one."""
        return [line for job in _running_jobs(status) for line in self._moved(job)]

    @property
    def only_waits(self) -> bool:
        """Say whether recordings are queued and none of them is being transcribed."""
        open_ones = [one for one in self._recordings.values() if not one.ended]
        return bool(open_ones) and all(one.ratio is None for one in open_ones)

    def picture(self) -> list[str]:
        """Draw every unfinished recording, the started ones first."""
        open_ones = [one for one in self._recordings.values() if not one.ended]
        begun = [one for one in open_ones if one.ratio is not None]
        waiting = [one for one in open_ones if one.ratio is None]
        lines = [_line(one) for one in begun]
        lines += [f"{_end_of(one.file):<{_NAME}} waiting" for one in waiting[:5]]
        return lines + ([f"... and {len(waiting) - 5} more waiting"] if len(waiting) > 5 else [])

    def _moved(self, job: Mapping[str, Any]) -> Iterator[str]:
        recording = self._recordings.get(str(job.get("id")))
        if recording is None or recording.ended:
            return
        # A job that restarts on another worker goes back; its quarters are not printed twice.
        recording.ratio = min(max(number(job.get("progress_ratio")) or 0.0, 0.0), 1.0)
        recording.audio_s = job.get("audio_s") or recording.audio_s
        quarters = int(recording.ratio * 4)
        if 0 < quarters < 4 and quarters > recording.quarters_told:
            recording.quarters_told = quarters
            yield f"{recording.file}: {25 * quarters} %"


def _line(recording: _Recording) -> str:
    audio_s = audio_text(recording.audio_s)
    return (
        f"{_end_of(recording.file):<{_NAME}} {bar(recording.ratio)} "
        f"{percent_text(recording.ratio):>5}{f' of {audio_s}' if audio_s != UNKNOWN else ''}"
    )


def _end_of(file: str) -> str:
    """Cut a long path at its start: recordings differ at its end."""
    return file if len(file) <= _NAME else f"...{file[3 - _NAME :]}"


def _running_jobs(status: Any) -> Iterator[Mapping[str, Any]]:
    slots = status.get("slots") if isinstance(status, dict) else None
    for slot in slots if isinstance(slots, list) else []:
        jobs = slot.get("jobs") if isinstance(slot, dict) else None
        for job in jobs if isinstance(jobs, list) else []:
            if isinstance(job, dict):
                yield job
