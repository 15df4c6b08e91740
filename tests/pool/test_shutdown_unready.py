"""Few workers load at a time, and a service that can't work for long says so by ending."""

from __future__ import annotations

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import Mode
from supervisor.pool.state.jobs import Stage
from tests.pool.simulated_host import Host


def alive(host: Host) -> list[str]:
    return sorted(name for name in host.processes if name.startswith("w"))


# --- loading ----------------------------------------------------------------------------


def test_a_dead_workers_heir_is_started_before_the_pool_thinks_of_anything_else() -> None:
    host = Host(workers=2).begin("a").run(8)
    entry = host.pool.jobs.entries["a"]
    dead = entry.slot

    steps = host.pool.steps(ev.Died(dead, -11, 0.5), host.now_s)
    first = next(step for step in steps if isinstance(step, (ev.ForSlot, ev.Send)))

    assert first == ev.ForSlot(dead, sl.Spawn())
    assert entry.stage is Stage.WAITING  # its job is free, and not with the neighbour yet
    assert [step.name for step in steps if isinstance(step, ev.Send)][:1] == [{"w0": "w1", "w1": "w0"}[dead]]


def test_no_more_than_two_workers_load_at_a_time() -> None:
    host = Host(workers=5, loading_most=2).begin()
    for count in (2, 4, 5):
        assert alive(host) == [f"w{n}" for n in range(count)]
        host.run(4.5)

    assert [host.state(f"w{n}") for n in range(5)] == ["ready"] * 5


def test_budget_of_a_start_does_not_run_while_it_waits_in_line() -> None:
    host = Host(workers=4, loading_most=1)
    host.load_s = 170.0

    host.begin().run(4 * 171)

    assert [host.state(f"w{n}") for n in range(4)] == ["ready"] * 4
    assert sum(host.slot(f"w{n}").restarts for n in range(4)) == 0


def test_worker_that_never_gets_ready_does_not_keep_the_line_for_ever() -> None:
    host = Host(workers=2, loading_most=1).begin()
    host.processes["w0"].alive = False  # it says nothing more, and goes on living

    host.run(181)
    assert ("w0", 12) in host.signals  # SIGUSR2

    host.processes["w0"].alive = True
    host.run(10)
    assert host.state("w1") == "ready"


def test_drain_of_workers_in_line_leaves_nobody_waiting() -> None:
    host = Host(workers=4, loading_most=1).begin()

    host.drain()
    host.run(5)

    assert (alive(host), host.pool.mode, host.alarms) == ([], Mode.DRAINED, [])
    assert [host.state(f"w{n}") for n in range(4)] == ["stopped"] * 4


def test_restart_of_a_worker_in_line_is_not_counted_as_its_failure() -> None:
    """It passed for a start that failed."""
    host = Host(workers=3, loading_most=1).begin()

    host.drain("w2", next_=sl.Next.RESTART)
    host.run(20)

    assert (host.state("w2"), host.slot("w2").failures) == ("ready", 0)


# --- nothing works ------------------------------------------------------------------------


def failing(unready_most_s: float = 600.0) -> Host:
    host = Host(workers=2, unready_most_s=unready_most_s)
    host.starts_fail.update(("w0", "w1"))
    return host.begin()


def test_service_whose_workers_never_get_ready_ends_as_failed_and_says_why() -> None:
    host = failing().run(599)
    assert host.ended is None

    host.run(2)

    assert host.ended is not None
    assert (host.ended.code, host.ended.why) == (Exit.FAILED, "no worker has been ready for 600 s")
    assert host.processes == {}


def test_one_worker_that_works_is_enough() -> None:
    host = failing()
    host.starts_fail.remove("w1")

    assert host.run(3600).ended is None


def test_what_is_held_by_the_broker_is_given_back_before_the_service_gives_up() -> None:
    host = Host(workers=1, unready_most_s=600.0).begin("a", takes_s=900).run(10)
    host.starts_fail.add("w0")
    host.kill("w0")

    host.run(700)

    assert host.ended is not None
    assert (host.ended.code, host.leases) == (Exit.FAILED, {})
    assert host.endings == [("a", m.Ending.RELEASED)]


def test_workers_that_rest_by_order_are_no_reason_to_give_up() -> None:
    """`drain gpu0` on a host with one slot ended the whole service an hour later."""
    host = Host(workers=1, unready_most_s=600.0).begin().run(10)
    host.drain("w0")

    assert host.run(3600).ended is None

    host.post(ev.Resume(("w0",)))
    assert host.run(10).state("w0") == "ready"


def test_broker_that_survives_sigkill_does_not_make_the_loop_spin_while_the_service_gives_up() -> None:
    """The host itself fails when it is woken without end."""
    host = Host(workers=1).begin("a", takes_s=900).run(10)
    host.broker.immortal = True
    host.post(ev.SlotEvent("broker", sl.Kill("it does not read its messages", fault=True)))

    host.run(400)

    assert host.ended is not None
    assert host.ended.code is Exit.FAILED
    assert host.ended.why.startswith("left behind, would not die: broker")
