"""A worker must go: which of its jobs are finished, which are put down, and what follows."""

from __future__ import annotations

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.rules.drain import RunningJob, decide_drain
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.jobs import DrainChoice
from tests.pool.puppet_children import BEAT_S
from tests.pool.simulated_host import Host


@pytest.mark.parametrize(
    ("left_s", "speed", "time_s", "choice"),
    [
        (100.0, 10.0, 20.0, DrainChoice.FINISH),
        (100.0, 10.0, 12.0, DrainChoice.FINISH),  # 10 s of work and 2 s to write
        (100.0, 10.0, 11.9, DrainChoice.PUT_DOWN),
        (3_600.0, 20.0, 110.0, DrainChoice.PUT_DOWN),
        (0.0, 1.0, 5.0, DrainChoice.FINISH),
        (0.0, 1.0, 1.0, DrainChoice.PUT_DOWN),  # no time to write it
        (None, 10.0, 110.0, DrainChoice.PUT_DOWN),  # it has hardly begun
        (100.0, None, 110.0, DrainChoice.PUT_DOWN),
        (None, None, 110.0, DrainChoice.PUT_DOWN),
    ],
)
def test_job_is_weighed_by_speed_and_time(
    left_s: float, speed: float, time_s: float, choice: DrainChoice
) -> None:
    verdict = decide_drain(RunningJob(left_s, speed), time_s)

    assert verdict.choice is choice
    assert verdict.why


def test_reason_can_be_checked_by_hand() -> None:
    assert (
        decide_drain(RunningJob(370.0, 10.0), 105.0).why
        == "370 s of audio at 10.0 a second take 37 s of 103 s"
    )


def put_down(host: Host, name: str) -> list[str]:
    return [message.job_id for message in host.worker(name).heard if isinstance(message, m.PutDown)]


def test_stop_finishes_what_can_be_finished_and_gives_the_rest_back_at_once() -> None:
    host = Host(workers=2)
    host.enqueue("short", takes_s=60)
    host.begin("long", takes_s=500).run(20)
    begun_s = host.now_s

    host.stop(within_s=110)
    host.run(5)

    assert host.endings == [("long", m.Ending.RELEASED)]
    host.run(200)
    assert host.ended is not None
    assert host.ended.code is Exit.OK
    assert ("short", m.Ending.DONE) in host.endings
    assert host.now_s - begun_s < 60


def test_checkpoint_reaches_the_broker_before_the_release() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(20)
    broker = host.broker

    host.stop()
    host.run(3)

    told = [type(w) for w in broker.heard if isinstance(w, (m.Checkpoint, m.Release))]
    assert told == [m.Checkpoint, m.Release]
    assert host.checkpoints[0][1] > 0


def test_drain_of_one_slot_hands_the_job_to_its_neighbour_which_carries_on() -> None:
    host = Host(workers=2).begin("a", takes_s=200).run(20)
    first = host.slots_of("a")[0]
    begun_s = host.now_s

    host.drain(first, within_s=60)
    host.run(400)

    assert host.endings == [("a", m.Ending.DONE)]
    assert len(host.slots_of("a")) == 2
    assert host.worked_s["a"] > 10
    assert host.now_s - begun_s == 400


def test_restart_of_the_only_slot_keeps_the_job_for_its_next_life() -> None:
    host = Host(workers=1).begin("a", takes_s=200).run(20)

    host.drain("w0", within_s=60, next_=sl.Next.RESTART)
    host.run(400)

    assert host.endings == [("a", m.Ending.DONE)]
    assert host.slots_of("a") == ["w0", "w0"]


def test_job_of_which_nothing_is_known_is_free_for_others_at_once() -> None:
    host = Host(workers=1)
    host.tells_progress = False
    host.begin("a", takes_s=500).run(10)

    host.stop(within_s=110)
    heard = host.worker("w0").heard
    host.run(1)

    assert m.PutDown in [type(message) for message in heard]
    assert host.endings == [("a", m.Ending.RELEASED)]


def test_new_job_is_weighed_by_what_the_neighbours_did() -> None:
    host = Host(workers=2).begin("before", takes_s=20).run(60)
    host.enqueue("a", "b", takes_s=10)
    host.run_until(lambda: host.slots_of("a") and host.slots_of("b")).run(BEAT_S)

    host.stop(within_s=110)
    host.run(1)

    assert put_down(host, "w0") == put_down(host, "w1") == []


def test_job_that_becomes_slower_than_it_seemed_is_put_down_after_all() -> None:
    host = Host(workers=1).begin("a", takes_s=80).run(20)
    host.stop(within_s=110)
    host.run(10)
    assert put_down(host, "w0") == []

    host.worker("w0").stuck = True  # its progress goes on, in the test's beats; the job never ends
    host.pool.jobs.entries["a"].audio_s = 5_000.0
    host.tells_progress = False
    host.run(3)

    assert put_down(host, "w0") == ["a"]


def test_second_stop_asks_for_no_checkpoint() -> None:
    host = Host(workers=1).begin("a", takes_s=80).run(10)
    worker = host.worker("w0")
    host.stop()
    host.run(1)

    host.stop(within_s=5)
    host.run(10)

    assert not [message for message in worker.heard if isinstance(message, m.PutDown)]
    assert host.endings == [("a", m.Ending.RELEASED)]


def test_checkpoint_of_a_working_slot_is_passed_on() -> None:
    host = Host(workers=1).begin("a", takes_s=200).run(10)

    host.worker("w0").say(m.Checkpoint("a", 12.5))
    host.run(1)

    assert host.checkpoints == [("a", 12.5)]
    assert host.has("w0") == ["a"]


def test_speed_of_a_job_that_carries_on_is_what_it_did_here_not_what_others_had_done() -> None:
    """400 of 500 s stood in its checkpoint: after 10 s it does not do 41 s of audio in a second."""
    host = Host(workers=1)
    host.worked_s["a"] = 400.0
    host.begin("a", takes_s=500).run_until_has("w0").run(10)

    host.drain(within_s=60)

    assert put_down(host, "w0") == ["a"]


def test_first_second_of_a_job_says_nothing_about_its_speed() -> None:
    host = Host(workers=1).begin("a", takes_s=600).run_until_has("w0").run(3)
    entry = host.pool.jobs.entries["a"]
    entry.began_at_s, entry.began_from_s, entry.done_s = host.now_s - 1.0, 0.0, 300.0

    host.drain(within_s=110)

    assert put_down(host, "w0") == ["a"]
