"""Chaos: real services with the real model, everything about them killed, stopped and cut off at random.

    python -m tests.chaos.soak --jobs 300 --seed 7

Two services share a queue on ministack behind a proxy that spoils calls. In the end every
job is done once, its text is that of an undisturbed run, the queue is empty, no process is
left, and each receipt beyond a message's first has its reason. The seed gives the same
clips, faults and deeds again; the machine's own timing stays its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.broker.aws_servers import deploy, run_server
from tests.chaos.clips import cut_clips
from tests.chaos.faults import FaultProxy
from tests.chaos.monkey import Monkey
from tests.end_to_end.running_service import Service, clean_environment, wait_for
from tests.end_to_end.senders import AwsSender, finished, transcript_of

CLIPS = 12
HEARINGS = 3  # in peace, of each clip
LEASE_S = 20
CONFIG = f"""
[queue]
lease_s = {LEASE_S}
[aws]
poll_s = 1.0
max_messages = 3
[devices]
device = "cpu"
cpu_slots = 1
[supervisor]
silence_s = 12.0
hold_after = 1000
"""


@dataclass(frozen=True)
class Wish:
    """What one run shall be."""

    jobs: int
    seed: int
    services: int
    every_s: float  # between two deeds, on average
    limit_s: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two deeds, on average")
    parser.add_argument("--limit", type=float, default=1_800.0, help="seconds until the run counts as stuck")
    asked = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if asked.seed is None else asked.seed
    wish = Wish(asked.jobs, seed, asked.services, asked.every, asked.limit)
    print(f"chaos: seed {wish.seed}, {wish.jobs} jobs, {wish.services} services", flush=True)
    with tempfile.TemporaryDirectory(prefix="rem-chaos-") as name:
        try:
            soak(wish, Path(name))
        except AssertionError as error:
            kept = Path(tempfile.mkdtemp(prefix="rem-chaos-logs-"))
            for log in Path(name).glob("*.log"):
                log.rename(kept / log.name)
            print(f"chaos: FAILED, seed {wish.seed}, logs in {kept}: {error}", file=sys.stderr)
            return 1
    return 0


def soak(wish: Wish, folder: Path) -> None:
    """One run; raises AssertionError where a promise is broken."""
    clips = cut_clips(folder, CLIPS, wish.seed)
    with contextmanager(run_server)("ministack") as server, FaultProxy(server, wish.seed) as proxy:
        sender = AwsSender(deploy(server, max_receive_count=1_000))
        with running_services(wish, folder, sender, proxy) as services:
            texts = undisturbed(sender, clips)
            print(f"chaos: {len(texts)} of {len(clips)} clips always sound the same in peace", flush=True)
            assert len(texts) >= 4, "too few clips to compare"
            sure = list(texts)
            jobs = {sender.send(clip): clip for clip in (sure[n % len(sure)] for n in range(wish.jobs))}
            monkey = Monkey(services, wish.seed, wish.every_s)
            proxy.is_calm = False
            began_s = time.monotonic()
            disturb(sender, set(jobs), monkey, wish)
            monkey.rest()
            proxy.is_calm = True
            wait_for(lambda: sender.left() == 0, "an empty queue", 60 + LEASE_S)
            print(f"chaos: all done after {time.monotonic() - began_s:.0f} s", flush=True)
        print(f"chaos: deeds {dict(monkey.deeds)}, faults {dict(proxy.faults)}", flush=True)
        print(f"chaos: {proxy.ledger.summary()}", flush=True)
        check(sender, jobs, texts, proxy, services)
    print("chaos: every job done once, all texts as undisturbed, nothing left", flush=True)


@contextmanager
def running_services(
    wish: Wish, folder: Path, sender: AwsSender, proxy: FaultProxy
) -> Iterator[list[Service]]:
    """Run the services; in the end each has stopped by itself and no process of theirs is left."""
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    environ = {**sender.environ(), "AWS_ENDPOINT_URL": proxy.url}
    services: list[Service] = []
    with ExitStack() as stack:
        for number in range(wish.services):
            state_dir = folder / f"state-{number}"
            service = Service(state_dir, clean_environment(state_dir, **environ))
            stack.callback(_end_hard, service, folder)
            services.append(service)
        for service in services:
            service.wait_ready(1)
        yield services
        for service in services:
            service.stop()
        wait_for(lambda: not processes_of(folder), f"the end of {processes_of(folder)}", 15)


def undisturbed(sender: AwsSender, clips: list[Path]) -> dict[Path, str]:
    """What the model says of each clip when nobody disturbs it.

    Where it is not sure it draws lots (faster-whisper's fallback to higher temperatures), and
    says something else each time: such clips prove nothing and are left out.
    """
    jobs = [(clip, sender.send(clip)) for clip in clips for _ in range(HEARINGS)]
    heard: dict[Path, set[str]] = {}
    for clip, job in jobs:
        record = wait_for(lambda job=job: finished(sender, job), f"the text of {clip}")  # type: ignore[misc]
        heard.setdefault(clip, set()).add(transcript_of(sender, record)["fullText"])
    return {clip: texts.pop() for clip, texts in heard.items() if len(texts) == 1}


def disturb(sender: AwsSender, left: set[str], monkey: Monkey, wish: Wish) -> None:
    """Let the monkey loose until every job is done."""
    until_s = time.monotonic() + wish.limit_s
    told_s = time.monotonic()
    waiting = deque(sorted(left))
    while left:
        monkey.act()
        # A few at a time, all in turn: looking must not cost more than working.
        for job in [waiting.popleft() for _ in range(min(20, len(waiting)))]:
            if finished(sender, job):
                left.discard(job)
            else:
                waiting.append(job)
        if time.monotonic() - told_s > 20:
            told_s = time.monotonic()
            print(f"chaos: {len(left)} left, {dict(monkey.deeds)}", flush=True)
        assert time.monotonic() < until_s, f"stuck with {len(left)} jobs: {_states(sender, left)}"
        time.sleep(0.1)


def check(
    sender: AwsSender,
    jobs: dict[str, Path],
    texts: dict[Path, str],
    proxy: FaultProxy,
    services: list[Service],
) -> None:
    """Hold the end to the promises."""
    objects = sender.transcripts()
    assert len(objects) == 2 * (len(jobs) + CLIPS * HEARINGS), f"{len(objects)} objects of {len(jobs)} jobs"
    for job, clip in jobs.items():
        record = sender.record(job)
        assert record["remState"] == "DONE", record
        assert record["status"] == "TRANSCRIBED", record
        assert not {"remToken", "remOwner", "remLeaseUnix"} & set(record), record
        document: dict[str, Any] = json.loads(objects[record["transcriptS3Key"]])
        assert document["fullText"] == texts[clip], f"{job}: {document['fullText']!r}, not {texts[clip]!r}"
        assert objects[record["transcriptS3Key"][:-4] + "txt"].decode().strip() == texts[clip].strip()
    assert proxy.ledger.unexplained() == []
    for service in services:
        assert not list((service.state_dir / "leases").glob("*.json"))
        assert not list((service.state_dir / "spool").glob("*/audio"))


def processes_of(folder: Path) -> list[int]:
    """Find processes that live for this run's folder, whoever started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environ = (path / "environ").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if int(path.name) != os.getpid() and f"{folder}/state-".encode() in environ and state not in "ZX":
            found.append(int(path.name))
    return found


def _end_hard(service: Service, folder: Path) -> None:
    """After a failure: leave no process behind."""
    if service.process.poll() is None:
        service.process.kill()
        service.process.wait()
    for pid in processes_of(folder):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass


def _states(sender: AwsSender, jobs: set[str]) -> dict[str, Any]:
    return {job: sender.record(job).get("remState") for job in sorted(jobs)[:10]}


if __name__ == "__main__":
    sys.exit(main())
