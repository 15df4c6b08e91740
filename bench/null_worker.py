"""A worker that recognises nothing: speaks the link as a real one does, and is through at once.

Stands in for `python -m workerproc` where a bench measures everything but the recogniser.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from supervisor.contract import child_bootstrap
from supervisor.contract.wire.blocking_link import BlockingLink, LinkClosed
from supervisor.contract.wire.messages import (
    TO_WORKER,
    Beat,
    Drain,
    FromWorker,
    Job,
    JobCard,
    Room,
    Staged,
    ToWorker,
    Up,
)

BEAT_S = 2.0


class Line(BlockingLink[ToWorker]):
    """The link: written by two threads, read by one."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__(link, TO_WORKER)

    def say(self, *said: FromWorker) -> None:
        for message in said:
            self.send(message)

    def heard(self) -> Iterator[ToWorker]:
        """Give each message as it comes; the end of the link is the end of the process."""
        with contextlib.suppress(LinkClosed):
            while True:
                yield from self.receive()
        os._exit(0)

    def beat(self) -> None:
        while True:
            time.sleep(BEAT_S)
            self.say(Beat("idle", 0))


def stage(card: JobCard) -> None:
    """Write what a worker writes, in its order."""
    document = {
        "recordingId": card.recording_id,
        "userId": card.user_id,
        "deviceId": card.device_id,
        "language": "en",
        "segments": [],
        "fullText": "",
        "durationSeconds": 1.0,
        "transcribedAt": "2026-11-22T13:21:41Z",
        "whisperModel": "null",
    }
    data = json.dumps(document).encode()
    staged = {
        "job_id": card.job_id,
        "attempt": card.attempt,
        "language": "en",
        "duration_s": 1.0,
        "sha256_json": hashlib.sha256(data).hexdigest(),
        "took_s": 0.0,
    }
    files = (
        ("transcript.txt", b""),
        ("transcript.json", data),
        ("staged.json", json.dumps(staged).encode()),
    )
    for name, content in files:
        beside = Path(card.folder) / f"{name}.new"
        beside.write_bytes(content)
        beside.replace(Path(card.folder) / name)


def main() -> None:
    line = Line(child_bootstrap.link())
    line.say(Up("null"), Room(1))
    threading.Thread(target=line.beat, daemon=True).start()
    for message in line.heard():
        if isinstance(message, Job):
            stage(message.card)
            line.say(Staged(message.card.job_id, 1.0, 0.0), Room(1))
        elif isinstance(message, Drain):
            os._exit(0)


if __name__ == "__main__":
    main()
