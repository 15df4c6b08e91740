"""How fast a job changes hosts: from the order, or its last worker's end, to another host's broker.

    python bench/handover.py [rounds]

A whole service (the real supervisor and broker, one worker of `busy_worker.py`) has the job; another
host's real broker waits for one. Timed on ministack and on SQLite:
`drain`: from the request on the control socket; the worker puts the job down at once, as a real one does
after the window it is in. `last slot`: from the worker's exit that says that its device is broken.
Both to that broker's Ready, so that claim and download (1 MB) are in it. Target: under 0.5 s.
"""

from __future__ import annotations

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


def serve() -> None:
    """Be the service, with a busy worker in the place of a real one."""
    import dataclasses
    import json

    from supervisor import recipes, run
    from supervisor.contract import settings

    real_fetch = recipes.model_fetch

    def busy_worker(*what: Any) -> Any:
        command = (sys.executable, "-m", "bench.busy_worker")
        return dataclasses.replace(recipes.worker(*what), command=command)

    def no_fetch(*what: Any) -> Any:
        said = json.dumps({"event": "ready", "path": "/", "source": "none"})
        return dataclasses.replace(real_fetch(*what), command=("/bin/echo", said))

    recipes.model_fetch = no_fetch
    sys.exit(run.run_service(settings.load(), busy_worker))


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


def measure(how: How, service: BusyService, other: BrokerProcess, rounds: int) -> str:
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
    return f"{statistics.median(took_ms):7.1f} ms median, {max(took_ms):.1f} ms worst of {rounds}"


def show(sender: Sender, other: BrokerProcess, folder: Path, more: str, rounds: int) -> None:
    """Measure both ways on one backend, in this folder."""
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
                print(f"{folder.name:9} {label:9} {measure(how, service, other, rounds)}", flush=True)
    except AssertionError:
        print(service.log[-3_000:])
        raise
    finally:
        service.process.kill()
        service.process.wait()


def on_sqlite(folder: Path, rounds: int) -> None:
    settings = local_settings(folder, LEASE_S)
    shared = f"[local]\nfolder = '{settings.local.folder}'\n"
    show(LocalSender(Path(settings.local.folder)), BrokerProcess(settings), folder, shared, rounds)


def on_ministack(server: AwsServer, folder: Path, rounds: int) -> None:
    made = deploy(server, max_receive_count=1_000)
    other = BrokerProcess(made.settings(folder, LEASE_S), made.server.environ)
    show(AwsSender(made), other, folder, "", rounds)


def main() -> None:
    rounds = int((sys.argv[1:] or ["10"])[0])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"target: under {TARGET_MS:.0f} ms, claim and download of 1 MB included")
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
        for backend in ("SQLite", "ministack"):
            (Path(name) / backend).mkdir()
        on_sqlite(Path(name) / "SQLite", rounds)
        serving = run_server("ministack")
        try:
            on_ministack(next(serving), Path(name) / "ministack", rounds)
        finally:
            serving.close()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
