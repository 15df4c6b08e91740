"""The whole service as the engine's benchmark drives it: on the embedded queue, or on ministack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tests.broker.aws_servers import AwsServer, Deployment, deploy, record_key  # noqa: E402
from tests.broker.proxy import Proxy  # noqa: E402

LIMIT_S = 900.0
COMMAND = (sys.executable, "-m", "supervisor")


class SlowProxy(Proxy):
    """Lets each call wait before it is passed on."""

    delay_s = 0.0

    def handle(self, request: BaseHTTPRequestHandler, netloc: str) -> None:
        time.sleep(self.delay_s)
        super().handle(request, netloc)


@contextmanager
def service(folder: Path, more: Mapping[str, str], config: str = "") -> Iterator[dict[str, str]]:
    """Run a service with warm workers, with these settings; give its environment."""
    folder.mkdir()
    (folder / "config.toml").write_text(config, encoding="utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "REM_"))}
    environ = {
        **kept,
        "PYTHONPATH": str(TOP),
        "REM_STATE_DIR": str(folder / "state"),
        "REM_SOCKET": str(folder / "s"),
        "REM_PROFILE": "fast",
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_DEVICE": os.environ.get("WHISPER_DEVICE", "cpu"),
        **more,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, "run"], env=environ, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_ready(environ, folder)
            yield environ
        finally:
            process.terminate()
            process.wait(60)


def _wait_ready(environ: dict[str, str], folder: Path) -> None:
    ends_s = time.perf_counter() + LIMIT_S
    while time.perf_counter() < ends_s:
        states = [slot["state"] for slot in workers(environ, folder)]
        if states and set(states) == {"ready"}:
            return
        time.sleep(0.2)
    raise AssertionError(f"the service did not become ready: {(folder / 'log').read_text()[-2000:]}")


@contextmanager
def on_sqlite(folder: Path, config: str = "") -> Iterator[dict[str, str]]:
    with service(folder, {"REM_BACKEND": "local"}, config) as environ:
        yield environ


def workers(environ: Mapping[str, str], folder: Path) -> list[dict[str, Any]]:
    """Give the worker slots of a service, as `status --json` shows them."""
    asked = subprocess.run(
        [*COMMAND, "status", "--json"], env=dict(environ), cwd=folder, capture_output=True, check=False
    )
    slots = json.loads(asked.stdout)["slots"] if asked.stdout.startswith(b"{") else []
    return [slot for slot in slots if slot["kind"] == "worker"]


def submit(environ: Mapping[str, str], paths: Sequence[str], output: Path) -> float:
    """Send recordings with the command and wait for all transcripts: seconds, its start included."""
    began_s = time.perf_counter()
    subprocess.run(
        [*COMMAND, "submit", *paths, "--wait", "--format", "txt", "--output", str(output)],
        env=dict(environ),
        cwd=output.parent,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )
    return time.perf_counter() - began_s


class OnAws:
    """A service on ministack, and REM's parts around it: the upload, the record, the message."""

    def __init__(self, made: Deployment) -> None:
        self._made = made
        self._sqs, self._s3, self._table = (made.server.client(name) for name in ("sqs", "s3", "dynamodb"))

    def run(self, paths: Sequence[str]) -> float:
        """Seconds from the first message to the empty queue; uploads were made before."""
        bodies = [self._upload(Path(path)) for path in paths]
        began_s = time.perf_counter()
        for first in range(0, len(bodies), 10):
            entries = [
                {"Id": str(n), "MessageBody": json.dumps(body)}
                for n, body in enumerate(bodies[first : first + 10])
            ]
            self._sqs.send_message_batch(QueueUrl=self._made.queue_url, Entries=entries)
        while self._left():
            assert time.perf_counter() - began_s < LIMIT_S, "the queue did not become empty"
            time.sleep(0.05)
        took_s = time.perf_counter() - began_s
        for body in bodies:
            record = self._table.get_item(TableName=self._made.table, Key=_key(body))["Item"]
            assert record["remState"]["S"] == "DONE", record
        return took_s

    def _upload(self, path: Path) -> dict[str, str]:
        recording_id = f"{path.stem}-{uuid.uuid4().hex[:8]}"
        key = f"raw/dev/2026/11/22/{recording_id}{path.suffix}"
        self._s3.upload_file(str(path), self._made.raw_bucket, key)
        times = {"startedAt": "2026-11-22T10-00-00Z", "endedAt": "2026-11-22T10-05-00Z"}
        ids = {"recordingId": recording_id, "userId": "default-user", "deviceId": "dev"}
        return {**ids, **times, "bucket": self._made.raw_bucket, "key": key}

    def _left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self._sqs.get_queue_attributes(QueueUrl=self._made.queue_url, AttributeNames=names)
        return sum(int(told["Attributes"][name]) for name in names)


def _key(body: Mapping[str, str]) -> dict[str, Any]:
    return record_key(body["userId"], body["recordingId"])


@contextmanager
def on_aws(folder: Path, server: AwsServer) -> Iterator[tuple[OnAws, SlowProxy]]:
    """Run a service on ministack, behind a proxy that can be slow."""
    made = deploy(server)
    with SlowProxy(server) as proxy:
        assert isinstance(proxy, SlowProxy)
        names = {
            **proxy.environ(made),
            "SQS_QUEUE_URL": made.queue_url,
            "RAW_AUDIO_BUCKET": made.raw_bucket,
            "TRANSCRIPTS_BUCKET": made.transcripts_bucket,
            "DYNAMODB_TABLE": made.table,
        }
        with service(folder, names):
            yield OnAws(made), proxy
