"""How fast a job changes hosts: from the order, or its last worker's end, to another host's broker.

    python bench/handover.py [rounds] [--write]

A whole service (the real supervisor and broker, one worker of `busy_worker.py`) has the job; another
host's real broker waits for one. Timed on ministack and on SQLite:
`drain`: from the request on the control socket; the worker puts the job down at once, as a real one does
after the window it is in. `last slot`: from the worker's exit that says that its device is broken.
`drain, real worker`: a drain too short to finish in, while the engine is in a window of a long recording.
All to that broker's Ready, so that claim and download (1 MB; 29 MB for the long one) are in it.
Target: under 0.5 s.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from bench import report, stand_in  # noqa: E402
from supervisor.contract.wire.messages import (  # noqa: E402
    Adopted,
    Done,
    JobCard,
    Keep,
    Ready,
    Release,
    Wanted,
)
from tests.broker.aws_servers import AwsServer, deploy, run_server  # noqa: E402
from tests.broker.harness import BrokerProcess, local_settings  # noqa: E402
from tests.end_to_end.running_service import Service, clean_environment, wait_for  # noqa: E402
from tests.end_to_end.senders import AwsSender, LocalSender, Sender  # noqa: E402
from tests.workerproc import recordings  # noqa: E402

AUDIO_BYTES = 1_000_000
LONG_S = 900.0
LEASE_S = 60
TARGET_MS = 500.0
POLL_STANDS_S = 0.7
CONFIG = f"""
[devices]
cpu_slots = 1
[queue]
lease_s = {LEASE_S}
"""


class BusyService(Service):
    """The service of this bench, reached as any other."""

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "--serve"],
                env=self.environ, cwd=self.state_dir.parent, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def holder(self) -> Optional[int]:
        """The pid of the worker that has the job."""
        return next((slot["pid"] for slot in self.slots() if slot["jobs"]), None)

    def order(self, **request: Any) -> None:
        assert self.ask(request) is not None


class RealService(BusyService):
    """The service as it is, with a long recording to do."""

    def _start(self) -> subprocess.Popen[bytes]:
        return Service._start(self)

    def holder(self) -> Optional[int]:
        """The pid of the worker that has the job, once the engine is at it."""
        at_work = (slot for slot in self.slots() if any(job["progress_ratio"] for job in slot["jobs"]))
        return next((slot["pid"] for slot in at_work), None)


How = Callable[[BusyService], None]


def drain(service: BusyService) -> None:
    service.order(do="drain", deadline_s=10)


def break_device(service: BusyService) -> None:
    pid = service.holder()
    assert pid
    os.kill(pid, signal.SIGUSR1)


def put_right(service: BusyService, how: How) -> None:
    """Have the service work again."""
    if how is break_device:
        service.order(do="release", slot=service.slots()[0]["name"])
    else:
        service.order(do="resume")


def measure(how: How, service: BusyService, other: BrokerProcess, rounds: int) -> list[float]:
    """Give the milliseconds of each round."""
    took_ms = []
    for _ in range(rounds):
        wait_for(service.holder, "the job in the worker")
        other.say(Wanted(1))
        time.sleep(POLL_STANDS_S)
        began_s = time.perf_counter()
        how(service)
        card: JobCard = other.hear(Ready).card
        took_ms.append((time.perf_counter() - began_s) * 1e3)
        other.say(Wanted(0))
        other.say(Keep((card.job_id,)))
        put_right(service, how)
        service.wait_ready(1)
        other.say(Release(card.job_id, "a bench"))
        other.hear(Done)
    return took_ms


def row(backend: str, label: str, took_ms: list[float]) -> list[str]:
    median_ms = statistics.median(took_ms)
    met = "yes" if median_ms < TARGET_MS else "no"
    return [label, backend, f"{median_ms:.0f}", f"{max(took_ms):.0f}", str(len(took_ms)), met]


Rows = list[list[str]]
Ways = Sequence[tuple[How, str]]
WAYS: Ways = ((drain, "drain"), (break_device, "last slot"))
REAL: Ways = ((drain, "drain, real worker"),)


def show(
    service: BusyService, other: BrokerProcess, audio: Path, sender: Sender, ways: Ways, rounds: int
) -> Rows:
    """Measure these ways on one backend, whose name the service's folder bears."""
    found = []
    try:
        service.wait_ready(1)
        with other:
            other.hear(Adopted)
            sender.send(audio)
            for how, label in ways:
                found.append(row(service.state_dir.parent.name, label, measure(how, service, other, rounds)))
                print(" | ".join(found[-1]), flush=True)
    except AssertionError:
        print(service.log[-3_000:])
        raise
    finally:
        service.process.kill()
        service.process.wait()
    return found


def small_audio(folder: Path) -> Path:
    audio = folder / "audio.wav"
    audio.write_bytes(b"RIFF" + bytes(AUDIO_BYTES))
    return audio


def long_audio(folder: Path) -> Path:
    """The samples again and again."""
    said = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    return recordings.wav(folder / "long.wav", np.resize(said, int(LONG_S * recordings.RATE_HZ)))


def on_sqlite(folder: Path, rounds: int) -> Rows:
    settings = local_settings(folder, LEASE_S)
    (folder / "config.toml").write_text(f"{CONFIG}[local]\nfolder = '{settings.local.folder}'\n")
    sender = LocalSender(Path(settings.local.folder))
    service = BusyService(folder / "service", clean_environment(folder / "service", **sender.environ()))
    return show(service, BrokerProcess(settings), small_audio(folder), sender, WAYS, rounds)


def on_ministack(
    server: AwsServer, folder: Path, rounds: int, kind: type[BusyService], audio: Path, ways: Ways
) -> Rows:
    made = deploy(server, max_receive_count=1_000)
    (folder / "config.toml").write_text(CONFIG)
    sender = AwsSender(made)
    other = BrokerProcess(made.settings(folder, LEASE_S), made.server.environ)
    service = kind(folder / kind.__name__, clean_environment(folder / kind.__name__, **sender.environ()))
    return show(service, other, audio, sender, ways, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="how fast a job changes hosts")
    parser.add_argument("rounds", nargs="?", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [["from", "backend", "median ms", "worst ms", "rounds", f"under {TARGET_MS:.0f} ms"]]
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
        for backend in ("SQLite", "ministack"):
            (Path(name) / backend).mkdir()
        rows += on_sqlite(Path(name) / "SQLite", arguments.rounds)
        serving = run_server("ministack")
        try:
            server, folder = next(serving), Path(name) / "ministack"
            rows += on_ministack(server, folder, arguments.rounds, BusyService, small_audio(folder), WAYS)
            rows += on_ministack(server, folder, arguments.rounds, RealService, long_audio(folder), REAL)
        finally:
            serving.close()
    text = report.heading(load) + "\n" + report.table(rows)
    print(text)
    if arguments.write:
        report.write("handover", text)


if __name__ == "__main__":
    stand_in.serve(sys.executable, "-m", "bench.busy_worker") if sys.argv[1:] == ["--serve"] else main()
