"""A reply to an order says what really follows: each is compared with what then happens in virtual time."""

from __future__ import annotations

from supervisor.contract.wire import messages as m
from supervisor.pool import control_replies
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from tests.pool.device_host import CURE, GIB, change, fault, host_with
from tests.pool.simulated_host import Host


def restart(host: Host, name: str, within_s: float = 110.0) -> str:
    was = host.slot(name).state
    host.post(ev.DrainSlots((name,), host.now_s + within_s, "restart", sl.Next.RESTART))
    return control_replies.of_restart(host.pool, host.pool.members[name], was, within_s)


def test_a_drain_of_idle_workers_says_that_they_are_gone() -> None:
    host = Host(workers=2).begin().run(10)
    host.drain(within_s=60)

    assert control_replies.of_drain(host.pool, (), 60).startswith(
        "the service: drained, no worker is running."
    )


def test_a_drain_says_which_jobs_may_finish_and_which_are_suspended_at_once() -> None:
    """`drill spot` promised 59 s, and the job went back to the queue within one."""
    host = Host(workers=2).begin("short", takes_s=20).run(12)
    host.enqueue("long", takes_s=2_000)
    host.run(5)
    host.drain(within_s=60)

    reply = control_replies.of_drain(host.pool, (), 60)

    suspended = sum(entry.drain_choice == "put-down" for entry in host.pool.jobs.entries.values())
    finishing = sum(entry.drain_choice == "finish" for entry in host.pool.jobs.entries.values())
    assert suspended == 1
    assert ("1 running job may finish within 55 s" in reply) == (finishing == 1)
    assert "1 running job can't finish within 55 s: suspended now and returned to the queue" in reply


def test_a_drain_without_any_time_says_that_workers_are_killed() -> None:
    host = Host(workers=1).begin("a", takes_s=60).run(10)
    host.drain(within_s=0)

    reply = control_replies.of_drain(host.pool, (), 0)

    assert "No time is left: workers are killed now; 1 running job returned to the queue. " in reply
    host.run_until(lambda: not host.slot("w0").pid, most_s=1)


def test_a_restart_says_now_where_nothing_runs_and_so_it_is() -> None:
    host = Host(workers=1).begin().run(10)

    reply = restart(host, "w0")

    assert reply == "w0 restarts now."
    host.run_until(lambda: host.slot("w0").restarts == 1, most_s=5)


def test_a_restart_of_a_slot_that_ends_already_says_so() -> None:
    host = Host(workers=1).begin("a", takes_s=60).run(10)
    restart(host, "w0")

    assert restart(host, "w0") == "w0 is already draining; it restarts afterwards."


def test_a_release_warns_of_a_fault_that_is_still_there_and_so_it_is_held_again() -> None:
    """It said "released and started"; two seconds later the slot was held again."""
    host = host_with(1)
    change(host, 0, health="sick", recovery_action="gpu-reset")
    host.run_until(lambda: host.state("w0") == "held")
    host.post(ev.ReleaseSlot("w0"))

    reply = control_replies.of_release(host.pool, host.pool.members["w0"])
    follow = control_replies.follow(host.pool, host.pool.members["w0"])

    assert "The driver still requests gpu-reset for GPU-0." in reply
    assert "held again within seconds" in reply
    host.run_until(lambda: host.state("w0") == "held", most_s=follow["sure_after_s"])


def test_a_release_of_a_well_gpu_promises_a_start_and_so_it_is() -> None:
    host = host_with(1)
    host.post(ev.SlotEvent("w0", sl.Kill("x", sl.Next.HOLD, fault=True)))
    host.run_until(lambda: host.state("w0") == "held")
    host.post(ev.ReleaseSlot("w0"))

    assert control_replies.of_release(host.pool, host.pool.members["w0"]) == "w0 is released and starts."
    host.run_until(lambda: host.state("w0") == "ready", most_s=30)


def test_a_resume_names_what_starts_and_what_stays_held() -> None:
    host = host_with(2)
    fault(host, 0, (79,), m.Act.HOLD)
    host.drain()
    host.run(20)
    host.post(ev.Resume(()))

    reply = control_replies.of_resume(host.pool, ())

    assert reply.startswith("The service accepts jobs. Starting: w1. w0 stays held: XID 79: broken")


def test_memory_that_stays_in_use_says_what_to_do_next() -> None:
    """A slot was held for its GPU's memory, without a next step."""
    host = host_with()
    change(host, 0, memory_used_bytes=9 * GIB)
    host.kill("w0", -6)

    host.run_until(lambda: host.state("w0") == "held")

    assert "nvidia-smi shows it" in host.slot("w0").reason
    assert "rem-supervisor release w0" in host.slot("w0").reason


def test_a_fault_that_only_restarts_a_worker_prints_no_cure() -> None:
    """XID 31, an application's own fault, told people to reset the GPU."""
    host, judged = host_with(), []

    for xid, act in ((31, m.Act.RESTART), (79, m.Act.HOLD)):
        told = m.Fault("GPU-0", (xid,), host.now_s, act, f"XID {xid}", CURE)
        actions = host.pool.take(ev.MessageReceived("gpuwatch", told), host.now_s)
        judged += [one.facts for one in actions if isinstance(one, ev.Note) and one.sentence == "GPU fault"]

    assert [facts.get("cure") for facts in judged] == [None, CURE]


def test_a_drill_says_what_a_real_notice_would_do_here() -> None:
    host = Host(workers=1).begin().run(10)
    host.drain(within_s=60)

    heard = control_replies.of_notice(host.pool, "drill: spot terminate at 12:00", 60)
    unheard = control_replies.of_notice(
        host.pool, "drill: spot terminate at 12:00", 60, "[notices] enabled = off"
    )

    assert heard.splitlines()[0] == "drill: spot terminate at 12:00"
    assert "would not be received" not in heard
    assert unheard.endswith("A real notice would not be received here: [notices] enabled = off.")
