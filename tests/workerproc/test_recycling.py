"""Workers make way after a bound, between jobs, and not all of a host at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import Job, Room, Staged
from tests.workerproc import recordings
from tests.workerproc.process import card, worker_in
from workerproc.process import recycling
from workerproc.process.recycling import Bounds

SHORT = next(clip.path for clip in recordings.samples() if clip.path.stem == "harbour")
BOUNDS = Bounds(jobs=10, age_s=3_600.0, resident_bytes=2**30)


@pytest.mark.parametrize(
    ("jobs", "age_s", "resident_bytes", "why"),
    [
        (9, 3_599.0, 2**30 - 1, None),
        (10, 0.0, 0, "10 jobs"),
        (0, 3_600.0, 0, "1.0 hours"),
        (0, 0.0, 2**30, "1024 MiB resident"),
    ],
)
def test_each_bound_is_a_reason(jobs: int, age_s: float, resident_bytes: int, why: str) -> None:
    assert recycling.reason(BOUNDS, jobs, age_s, resident_bytes) == why


def test_nothing_set_is_no_bound() -> None:
    assert recycling.reason(Bounds(), 10**9, 10**9, 10**15) is None


def test_slots_of_a_host_have_bounds_of_their_own_within_a_tenth() -> None:
    bounds = [recycling.bounds_of(f"gpu{n}", 1_000, 86_400.0, 7) for n in range(8)]

    assert len({one.age_s for one in bounds}) == 8
    assert all(900 <= one.jobs <= 1_000 and 77_760.0 <= one.age_s <= 86_400.0 for one in bounds)
    assert {one.resident_bytes for one in bounds} == {7}
    assert recycling.bounds_of("cpu0", 1, 0.0, 0) == Bounds(1, 0.0, 0)


@pytest.mark.slow
def test_worker_at_its_bound_finishes_what_it_has_and_asks_for_a_successor(tmp_path: Path) -> None:
    with worker_in(tmp_path, profile="fast", batch_size=2, recycle_jobs=2) as worker:
        worker.ready()
        for name in ("a", "b", "c"):
            worker.send(Job(card(tmp_path / name, SHORT, job_id=name)))

        staged = {worker.next(Staged).job_id for _ in range(3)}

        assert staged == {"a", "b", "c"}
        assert worker.ends() == Exit.RECYCLE
        rooms = [message for message in worker.heard if isinstance(message, Room)]
        assert rooms[-1].free == 0
        assert [
            line["reason"]
            for line in worker.log_lines()
            if line["message"] == "worker recycling: a fresh process replaces it"
        ]
