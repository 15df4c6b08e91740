"""How many jobs a second the whole service does on the embedded queue when recognising costs nothing.

    python bench/local_throughput.py [jobs] [backlog ...]

The real supervisor and broker, four workers of `null_worker.py`, a fresh state directory each.
For each backlog (default 100, 1,000, 100,000 messages in the queue) the first `jobs` (default 1,000)
are timed, from the first transcript on. Target: 200 jobs/s, whatever the backlog.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
WORKERS = 4
TARGET_PER_S = 200.0
WAIT_S = 60.0


def serve() -> None:
    """Be the service, with null workers in the place of real ones."""
    import dataclasses

    from supervisor import recipes, run
    from supervisor.contract import settings

    real_fetch = recipes.model_fetch

    def null_worker(*what: Any) -> Any:
        return dataclasses.replace(
            recipes.worker(*what), command=(sys.executable, str(TOP / "bench" / "null_worker.py"))
        )

    def no_fetch(*what: Any) -> Any:
        said = json.dumps({"event": "ready", "path": "/", "source": "none"})
        return dataclasses.replace(real_fetch(*what), command=("/bin/echo", said))

    recipes.model_fetch = no_fetch
    sys.exit(run.run_service(settings.load(), null_worker))


def fill(folder: Path, count: int) -> None:
    """Put so many messages into the queue, all about one small recording each."""
    from supervisor.broker.local import open_database
    from supervisor.broker.local_objects import LocalObjects

    database = open_database(folder)
    objects = LocalObjects(folder / "objects")
    audio = folder / "audio"
    audio.write_bytes(b"RIFF" + bytes(32_000))
    objects.put("raw", "one.wav", audio, "audio/wav")
    rows = []
    for number in range(count):
        body = {
            "recordingId": f"rec-{number:06}",
            "bucket": "raw",
            "key": "one.wav",
            "userId": "u",
            "deviceId": "d",
        }
        rows.append((f"m-{number}", json.dumps(body), time.time()))
    with database.change() as tx:
        tx.executemany("INSERT INTO messages (id, body, sent_unix_s) VALUES (?, ?, ?)", rows)


def done_count(folder: Path) -> int:
    try:
        return sum(
            name.endswith(".json") for name in os.listdir(folder / "objects/transcripts/transcripts/u/d")
        )
    except OSError:
        return 0


def measure(jobs: int, backlog: int) -> tuple[float, float]:
    """Give jobs per second, and CPU seconds of all processes a job, over the first `jobs` of a backlog."""
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
        state = Path(name) / "state"
        (state / "local").mkdir(parents=True)
        fill(state / "local", backlog)
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environ = {
            **kept,
            "REM_STATE_DIR": str(state),
            "REM_BACKEND": "local",
            "PYTHONPATH": str(TOP),
            "WHISPER_DEVICE": "cpu",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        config = Path(name) / "config.toml"
        config.write_text(f'[devices]\ncpu_slots = {WORKERS}\n[log]\nlevel = "WARNING"\n')
        with open(Path(name) / "log", "wb") as log:
            service = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--serve"],
                cwd=name, env=environ, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        cpu_s = _children_cpu_s()
        try:
            rate = _timed(state / "local", min(jobs, backlog), service, Path(name) / "log")
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(130)
        # The start is in it as well: four workers, a broker, a supervisor.
        return rate, (_children_cpu_s() - cpu_s) / max(1, done_count(state / "local"))


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _timed(folder: Path, jobs: int, service: subprocess.Popen[bytes], log: Path) -> float:
    until_s = time.monotonic() + WAIT_S
    first = (0, 0.0)
    while time.monotonic() < until_s:
        assert service.poll() is None, log.read_text()[-2_000:]
        done, now_s = done_count(folder), time.monotonic()
        if done and not first[0]:
            first = (done, now_s)
        if done >= jobs:
            return (done - first[0]) / (now_s - first[1])
        time.sleep(0.02)
    raise SystemExit(f"not done within {WAIT_S} s; the log ends\n{log.read_text()[-2_000:]}")


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]]
    jobs, backlogs = (numbers or [1_000])[0], numbers[1:] or [100, 1_000, 100_000]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {WORKERS} null workers")
    print(f"target: {TARGET_PER_S:.0f} jobs/s, whatever the backlog")
    for backlog in backlogs:
        rate, cpu_s = measure(jobs, backlog)
        load = os.getloadavg()[0]
        print(
            f"{backlog:>8} queued: {rate:7.1f} jobs/s, {cpu_s * 1e3:.1f} CPU ms a job, load {load:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
