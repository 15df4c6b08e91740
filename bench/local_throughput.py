"""How many jobs a second the whole service does on the embedded queue when recognising costs nothing.

    python bench/local_throughput.py [jobs] [backlog ...] [--write]

The real supervisor and broker, four workers of `null_worker.py`, a fresh state directory each.
For each backlog (default 100, 1,000, 100,000 messages in the queue) the first `jobs` (default 1,000)
are timed, from the first transcript on. Target: 200 jobs/s, whatever the backlog.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from bench import report, stand_in  # noqa: E402

WORKERS = 4
TARGET_PER_S = 200.0
WAIT_S = 60.0


def fill(folder: Path, count: int) -> None:
    """Put so many messages into the queue, all about one small recording each."""
    from supervisor.broker.backends.local_objects import LocalObjects
    from supervisor.broker.backends.local_queue import open_database

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
    parser = argparse.ArgumentParser(description="jobs a second on the embedded queue")
    parser.add_argument("jobs", nargs="?", type=int, default=1_000)
    parser.add_argument("backlogs", nargs="*", type=int, default=[100, 1_000, 100_000])
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [["queued", "jobs/s", "CPU ms a job, all processes", f"at least {TARGET_PER_S:.0f} jobs/s"]]
    for backlog in arguments.backlogs:
        rate, cpu_s = measure(arguments.jobs, backlog)
        met = "yes" if rate >= TARGET_PER_S else "no"
        rows.append([f"{backlog:,}", f"{rate:.0f}", f"{cpu_s * 1e3:.1f}", met])
        print(" | ".join(rows[-1]), flush=True)
    text = report.heading(load) + "\n" + report.table(rows)
    print(text)
    if arguments.write:
        report.write("jobs a second", text)


if __name__ == "__main__":
    null_worker = str(TOP / "bench" / "null_worker.py")
    stand_in.serve(sys.executable, null_worker) if sys.argv[1:] == ["--serve"] else main()
