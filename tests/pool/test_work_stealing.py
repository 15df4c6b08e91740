"""Jobs that nobody began go to where there is less to do; what was begun stays where it is."""

from __future__ import annotations

from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from tests.pool.simulated_host import Host


def late_slot(jobs: int, first_window_s: float) -> Host:
    """One slot has all jobs when the other one comes back, with places for four each."""
    host = Host(workers=2, places=4)
    host.first_window_s, host.tells_progress = first_window_s, False
    host.begin().run(20)
    host.drain("w1", within_s=10)
    host.run(5)
    host.enqueue(*(f"job-{n}" for n in range(jobs)), takes_s=100)
    host.run_until(lambda: len(host.has("w0")) == jobs)
    host.post(ev.Resume(("w1",)))
    return host


def asked(host: Host, slot: str) -> list[str]:
    return [one.job_id for one in host.worker(slot).heard if isinstance(one, m.PutDown)]


def test_slot_that_is_ready_last_gets_half_of_what_is_not_begun() -> None:
    host = late_slot(4, first_window_s=1_000.0).run(20)

    assert [len(host.has(name)) for name in ("w0", "w1")] == [2, 2]
    assert asked(host, "w0") == ["job-3", "job-2"], "the youngest first"
    assert host.run(300).ended_as(m.Ending.DONE) == [f"job-{n}" for n in range(4)]


def test_job_that_is_begun_stays_and_each_is_asked_for_once() -> None:
    host = late_slot(3, first_window_s=0.0).run(30)

    assert len(host.has("w0")) == 3
    assert len(asked(host, "w0")) == len(set(asked(host, "w0")))
    assert host.run(300).ended_as(m.Ending.DONE) == ["job-0", "job-1", "job-2"]


def test_one_job_more_is_even_enough() -> None:
    host = late_slot(1, first_window_s=1_000.0).run(30)

    assert host.has("w0") == ["job-0"]
    assert asked(host, "w0") == []


def test_jobs_that_wait_are_handed_out_before_any_moves() -> None:
    host = late_slot(4, first_window_s=1_000.0)
    host.enqueue("next", "other", takes_s=100)
    host.run(20)

    assert [len(host.has(name)) for name in ("w0", "w1")] == [3, 3]
