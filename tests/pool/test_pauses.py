"""The supervisor was paused, alone or with its children: nobody is judged by that time.

A supervisor that was stopped three times for 40 s killed all workers each time ("silent for 30 s") and
then failed the recording ("its worker died 3 times"): timers ran before the beats were read.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.jobs import DrainChoice
from supervisor.pool.state.slot_types import SlotState
from tests.pool.simulated_host import Host
from tests.pool.slot_life import KILL, STACKS, ready, started

HOWS = ("pause", "freeze")
how = pytest.mark.parametrize("how", HOWS)


def interrupt(host: Host, how: str, for_s: float) -> None:
    (host.pause if how == "pause" else host.freeze)(for_s)


def pids(host: Host) -> dict[str, int]:
    return {name: member.slot.pid for name, member in host.pool.members.items()}


@how
def test_three_pauses_of_40_s_kill_nobody_and_charge_nothing(how: str) -> None:
    host = Host(workers=2).begin("a", "b", takes_s=100).run(12)
    before = pids(host)

    for _ in range(3):
        interrupt(host, how, 40)
        host.run(5)
        assert not any(entry.suspect for entry in host.pool.jobs.entries.values())

    assert (host.signals, pids(host), host.pool.totals.crashed) == ([], before, 0)
    host.run(200)
    assert host.endings.count(("a", m.Ending.DONE)) == host.endings.count(("b", m.Ending.DONE)) == 1
    assert (host.slots_of("a"), host.slots_of("b")) == (["w0"], ["w1"])


@settings(max_examples=60)
@given(
    breaks=st.lists(
        st.tuples(st.sampled_from(HOWS), st.floats(3, 400), st.floats(0, 40)), min_size=1, max_size=8
    ),
    places=st.sampled_from([1, 2]),
)
def test_no_pauses_whatever_disturb_anybody(breaks: list[tuple[str, float, float]], places: int) -> None:
    host = Host(workers=3, places=places).begin(*"abcdef", takes_s=30)
    for kind, for_s, wait_s in breaks:
        host.run(wait_s)
        interrupt(host, kind, for_s)
    host.run(400)

    assert (host.signals, host.ended, host.pool.totals.crashed) == ([], None, 0)
    assert sorted(host.endings) == [(job, m.Ending.DONE) for job in "abcdef"]
    assert all(member.slot.restarts == 0 for member in host.pool.members.values())


def test_after_a_pause_a_child_has_its_whole_time_to_speak_and_then_none() -> None:
    life = ready().after(29).after(40, sl.SupervisorPaused(40.0), sl.Tick())
    assert (life.state, life.said, life.waits_s) == (SlotState.READY, (), 30.0)

    assert life.due().said == (STACKS,)
    assert life.slot.reason == "silent for 30 s"


def test_pauses_do_not_save_a_worker_that_hangs() -> None:
    """Its budget does not begin anew with each: it is longer by what was lost, and no more."""
    life = ready()
    for _ in range(29):
        life.after(10, sl.Heartbeat(moved=False)).after(40, sl.SupervisorPaused(40.0))
        life.take(sl.Heartbeat(moved=False))
        assert life.state is SlotState.READY
    assert life.waits_s == 10.0

    assert life.due().said == (STACKS,)


def test_model_that_was_loading_has_the_rest_of_its_time() -> None:
    life = started().after(170).after(600, sl.SupervisorPaused(600.0), sl.Tick())

    assert (life.state, life.waits_s) == (SlotState.STARTING, 10.0)


def test_process_that_was_paused_before_it_could_die_raises_no_alarm() -> None:
    life = ready().take(sl.Kill("told to")).after(60, sl.SupervisorPaused(60.0), sl.Tick())

    assert (life.said, life.waits_s) == ((), 5.0)


def test_deadline_of_a_drain_stays_and_what_was_said_meanwhile_is_read_first() -> None:
    life = ready()
    life.take(sl.BeginDrain(life.now_s + 110, "spot notice"))

    life.after(40, sl.SupervisorPaused(40.0))
    assert life.waits_s == 65.0

    life.after(200, sl.SupervisorPaused(200.0), sl.Tick())
    assert (life.state, life.said, life.waits_s) == (SlotState.DRAINING, (), 1.0)
    assert life.due().said == (KILL,)


def test_work_that_was_finished_behind_a_paused_supervisor_is_committed_though_the_deadline_is_past() -> None:
    host = Host(workers=1).begin("a", takes_s=20).run(10)
    host.stop(within_s=30)

    host.pause(60)
    host.run(30)

    assert host.ended is not None
    assert (host.ended.code, host.endings) == (Exit.OK, [("a", m.Ending.DONE)])


def test_stop_that_was_frozen_beyond_its_deadline_comes_to_its_end_at_once() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)
    host.stop(within_s=30)

    host.freeze(600)
    woke_at_s = host.now_s
    host.run(30)

    assert host.ended is not None
    assert host.now_s - woke_at_s <= 10


def test_five_minutes_without_a_broker_are_five_minutes_of_looking_for_one() -> None:
    host = Host(workers=1).begin().run(10)
    host.starts_fail.add("broker")
    host.kill("broker")

    host.run(100).freeze(1000)
    host.run(100)
    assert host.pool.mode is ev.Mode.RUNNING

    host.run_until(lambda: host.ended, 200)
    assert host.ended is not None
    assert host.ended.why == "no broker for 5 minutes"


def test_running_job_is_weighed_by_its_speed_while_it_could_run() -> None:
    """90 s of 120 s are left when it thaws: at its own speed that is in time."""
    host = Host(workers=1).begin("a", takes_s=100).run(25)
    host.freeze(300)
    (entry,) = host.pool.jobs.entries.values()

    host.drain(within_s=110)
    host.run(5)

    assert entry.drain_choice is DrainChoice.FINISH


def test_pause_is_logged_once_with_its_length() -> None:
    pool = Host(workers=1).begin().run(10).pool

    actions = pool.take(ev.Paused(41.23), 1051.0)

    (note,) = [action for action in actions if isinstance(action, ev.Note)]
    assert (note.level, note.facts["lost_s"]) == ("warning", 41.2)
