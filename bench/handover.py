"""How fast a job changes hosts: from the order, or its last worker's end, to another host's broker.

    python bench/handover.py [rounds] [--write]

A whole service (the real supervisor and broker, one worker of `busy_worker.py`) has the job; another
host's real broker waits for one. Timed on ministack and on SQLite:
`drain`: from the request on the control socket; the worker puts the job down at once, as a real one does
after the window it is in. `last slot`: from the worker's exit that says that its device is broken.
Both to that broker's Ready, so that claim and download (1 MB) are in it. Target: under 0.5 s.
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
from pathlib import Path
from typing import Any, Callable, Optional

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from bench import report, stand_in  # noqa: E402
from supervisor.contract.messages import Adopted, Done, JobCard, Keep, Ready, Release, Wanted  # noqa: E402
from tests.broker.aws_servers import AwsServer, deploy, run_server  # noqa: E402
from tests.broker.harness import BrokerProcess, local_settings  # noqa: E402
from tests.processes.rem_service import Service, clean_environment, wait_for  # noqa: E402
from tests.processes.senders import AwsSender, LocalSender, Sender  # noqa: E402

AUDIO_BYTES = 1_000_000
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


How = Callable[[BusyService], None]


def drain(service: BusyService) -> None:
    service.order(do="drain", deadline_s=10)


def break_device(service: BusyService) -> None:
    pid = service.holder()
    assert pid
    os.kill(pid, signal.SIGUSR1)


def put_right(service: BusyService, how: How) -> None:
    """Have the service work again."""
    if how is drain:
        service.order(do="resume")
    else:
        service.order(do="release", slot=service.slots()[0]["name"])


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


def both(sender: Sender, other: BrokerProcess, folder: Path, more: str, rounds: int) -> list[list[str]]:
    """Measure both ways on one backend, in this folder, which bears its name."""
    found = []
    audio = folder / "audio.wav"
    audio.write_bytes(b"RIFF" + bytes(AUDIO_BYTES))
    (folder / "config.toml").write_text(CONFIG + more)
    service = BusyService(folder / "service", clean_environment(folder / "service", **sender.environ()))
    try:
        service.wait_ready(1)
        with other:
            other.hear(Adopted)
            sender.send(audio)
            for how, label in ((drain, "drain"), (break_device, "last slot")):
                found.append(row(folder.name, label, measure(how, service, other, rounds)))
                print(" | ".join(found[-1]), flush=True)
    except AssertionError:
        print(service.log[-3_000:])
        raise
    finally:
        service.process.kill()
        service.process.wait()
    return found


def on_sqlite(folder: Path, rounds: int) -> list[list[str]]:
    settings = local_settings(folder, LEASE_S)
    shared = f"[local]\nfolder = '{settings.local.folder}'\n"
    return both(LocalSender(Path(settings.local.folder)), BrokerProcess(settings), folder, shared, rounds)


def on_ministack(server: AwsServer, folder: Path, rounds: int) -> list[list[str]]:
    made = deploy(server, max_receive_count=1_000)
    other = BrokerProcess(made.settings(folder, LEASE_S), made.server.environ)
    return both(AwsSender(made), other, folder, "", rounds)


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
            rows += on_ministack(next(serving), Path(name) / "ministack", arguments.rounds)
        finally:
            serving.close()
    text = report.heading(load) + "\n" + report.table(rows)
    print(text)
    if arguments.write:
        report.write("handover", text)


if __name__ == "__main__":
    stand_in.serve(sys.executable, "-m", "bench.busy_worker") if sys.argv[1:] == ["--serve"] else main()
