"""Those who send recordings and read transcripts, on either backend: what REM's own parts would do."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Optional, Protocol

from supervisor.broker.local import LocalQueue, LocalRecords, open_database
from supervisor.broker.ports import RecordKey

USER = "default-user"


class Sender(Protocol):
    """Puts recordings in and looks at what became of them."""

    def environ(self) -> dict[str, str]:
        """Give the environment that makes a service work on this backend."""

    def send(self, audio: Path) -> str:
        """Enqueue a recording; gives its id."""

    def record(self, recording_id: str) -> dict[str, Any]:
        """Give the record as its readers see it; empty while there is none."""

    def transcripts(self) -> dict[str, bytes]:
        """Give every transcript object by key."""

    def left(self) -> int:
        """Count the messages that wait or are held by anybody."""


class LocalSender:
    """The embedded backend, looked at through its own tables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = open_database(folder)

    def environ(self) -> dict[str, str]:
        return {}

    def send(self, audio: Path) -> str:
        recording_id = f"{audio.stem}-{uuid.uuid4().hex[:8]}"
        key = f"raw/dev/2026/11/22/{recording_id}{audio.suffix}"
        place = self._folder / "objects" / "raw" / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(audio.read_bytes())
        body = {"recordingId": recording_id, "bucket": "raw", "key": key, "userId": USER, "deviceId": "dev"}
        LocalQueue(self._database).send(json.dumps({**body, "startedAt": "1", "endedAt": "2"}), {})
        return recording_id

    def record(self, recording_id: str) -> dict[str, Any]:
        return LocalRecords(self._database).get(RecordKey(USER, recording_id)) or {}

    def transcripts(self) -> dict[str, bytes]:
        root = self._folder / "objects" / "transcripts"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def left(self) -> int:
        counts = LocalQueue(self._database).counts()
        return (counts.waiting or 0) + (counts.in_flight or 0)


def finished(sender: Sender, recording_id: str) -> Optional[dict[str, Any]]:
    """The record once it is done, else None; a failed one ends the test."""
    record = sender.record(recording_id)
    assert record.get("remState") != "FAILED", record
    return record if record.get("remState") == "DONE" else None


def transcript_of(sender: Sender, record: dict[str, Any]) -> dict[str, Any]:
    """The JSON transcript that the record names."""
    return dict(json.loads(sender.transcripts()[record["transcriptS3Key"]]))
