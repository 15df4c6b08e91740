"""Devices in trouble: held, healed and restarted, and who pays for it. In virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from tests.pool.device_host import (
    CURE,
    GIB,
    change,
    fault,
    gpu,
    hold_of,
    host_with,
)
from tests.pool.simulated_host import Host


def test_a_fault_that_holds_stops_one_worker_and_its_job_is_finished_elsewhere() -> None:
    host = host_with()
    host.enqueue("a", takes_s=30)
    host.run_until(lambda: host.has("w0") or host.has("w1"))
    sick, well = ("w0", "w1") if host.has("w0") else ("w1", "w0")

    fault(host, int(sick[1]), (79,), m.Act.HOLD)

    host.run_until(lambda: host.state(sick) == "held", most_s=1)
    assert hold_of(host, sick) == ("proof", None)
    assert host.slot(sick).reason == f"XID 79: broken. {CURE}"
    host.run_until(lambda: host.ended_as(m.Ending.DONE) == ["a"])
    assert host.slots_of("a") == [sick, well]
    assert not host.pool.jobs.entries
    host.run(3600)
    assert host.state(sick) == "held", "nothing but proof or a person ends it"


def test_a_job_is_not_suspected_for_its_devices_sake() -> None:
    host = host_with(1)
    host.enqueue("a", takes_s=30)
    host.run_until(lambda: host.has("w0"))

    fault(host, 0, (79,), m.Act.HOLD)

    assert [entry.suspect for entry in host.pool.jobs.entries.values()] in ([], [False])


def test_a_fault_that_restarts_costs_the_worker_a_life_and_the_device_nothing() -> None:
    host = host_with()
    pid = host.slot("w0").pid

    fault(host, 0, (31,), m.Act.RESTART)

    host.run_until(lambda: host.state("w0") == "ready")
    assert host.slot("w0").pid != pid
    assert (host.slot("w0").failures, host.slot("w1").failures) == (1, 0)
    assert host.pool.device_holds.holds == {}


def test_a_worker_that_went_for_its_devices_sake_is_back_when_the_fault_was_its_own() -> None:
    """CUDA fails at once, the verdict comes two seconds later."""
    host = host_with()
    host.kill("w0", 71)
    assert hold_of(host, "w0")[0] == "device"

    fault(host, 0, (31,), m.Act.RESTART, ago_s=0)

    host.run_until(lambda: host.state("w0") == "ready", most_s=20)


def test_a_slot_that_was_held_before_the_fault_stays_held() -> None:
    host = host_with()
    host.kill("w0", 71)
    host.run(60)

    fault(host, 0, (31,), m.Act.RESTART)

    host.run(20)
    assert host.state("w0") == "held"


def test_a_worker_made_after_the_fault_is_its_cure_and_left_alone() -> None:
    host = host_with()
    host.kill("w0", -6)
    host.run_until(lambda: host.state("w0") == "ready")
    pid = host.slot("w0").pid

    fault(host, 0, (31,), m.Act.RESTART, ago_s=60)

    host.run(10)
    assert host.slot("w0").pid == pid


@pytest.mark.parametrize("act", [m.Act.IGNORE, m.Act.WARN])
def test_what_is_only_told_moves_nothing(act: m.Act) -> None:
    host = host_with()
    pids = [host.slot(name).pid for name in ("w0", "w1")]

    fault(host, 0, (45,), act)

    host.run(30)
    assert [host.slot(name).pid for name in ("w0", "w1")] == pids


def test_the_same_fault_under_several_workers_holds_the_device() -> None:
    host = host_with()
    for _ in range(3):
        host.run_until(lambda: host.state("w0") == "ready")
        fault(host, 0, (31,), m.Act.RESTART, most_count=3, within_s=3600.0)
        host.run(120)

    assert host.state("w0") == "held"
    assert "XID 31: broken, 3 times within 1 h" in host.slot("w0").reason


def test_faults_that_are_old_or_different_do_not_add_up() -> None:
    host = host_with()
    for xid, pause_s in ((44, 4000.0), (44, 1.0), (32, 1.0)):
        host.run_until(lambda: host.state("w0") == "ready")
        fault(host, 0, (xid,), m.Act.RESTART, most_count=2, within_s=3600.0)
        host.run(pause_s)

    assert host.pool.device_holds.holds == {}


def test_a_recovery_action_holds_and_its_end_heals_without_a_hand() -> None:
    host = host_with(recovery_action="none")

    change(host, 0, recovery_action="gpu-reset", health="sick", cure=CURE)
    host.run_until(lambda: host.state("w0") == "held", most_s=10)
    assert host.slot("w0").reason == f"driver recovery action: gpu-reset. {CURE}"
    assert host.state("w1") == "ready"
    host.run(1000)
    assert host.state("w0") == "held"
    change(host, 0, recovery_action="none", health="ok", cure="")

    host.run_until(lambda: host.state("w0") == "ready", most_s=20)


def test_drain_and_reset_lets_the_job_under_way_be_finished() -> None:
    host = host_with(1)
    host.enqueue("a", takes_s=30)
    host.run_until(lambda: host.has("w0"))

    change(host, 0, recovery_action="drain-and-reset", health="sick")

    host.run_until(lambda: host.state("w0") == "held")
    host.run_until(lambda: host.ended_as(m.Ending.DONE) == ["a"], most_s=2)
    assert host.slots_of("a") == ["w0"]


def test_a_lost_gpu_is_held_until_it_answers_and_the_others_go_on() -> None:
    host = host_with()

    change(host, 1, health="lost", memory_used_bytes=None)
    host.run_until(lambda: host.state("w1") == "held", most_s=10)
    assert "fallen off the bus" in host.slot("w1").reason
    host.run(1000)
    assert (host.state("w0"), host.state("w1")) == ("ready", "held")
    change(host, 1, health="ok", memory_used_bytes=GIB // 2)

    host.run_until(lambda: host.state("w1") == "ready", most_s=20)


def test_a_gpu_that_vanishes_and_comes_back() -> None:
    host = host_with()
    gone = host.gpus.pop(1)

    host.run_until(lambda: host.state("w1") == "held", most_s=10)
    assert host.slot("w1").reason.startswith("GPU-1 is gone")
    host.gpus.append(gone)

    host.run_until(lambda: host.state("w1") == "ready", most_s=20)


def test_a_held_gpu_that_was_reset_comes_back_even_where_its_driver_tells_no_action() -> None:
    host = host_with()
    fault(host, 0, (79,), m.Act.HOLD)
    host.run(30)
    assert host.state("w0") == "held"

    change(host, 0, health="lost")
    host.run(30)
    assert host.slot("w0").reason.startswith("XID 79: broken")
    change(host, 0, health="ok")

    host.run_until(lambda: host.state("w0") == "ready", most_s=20)


def test_release_by_hand_ends_a_hold_and_resume_does_not() -> None:
    host = host_with()
    fault(host, 0, (79,), m.Act.HOLD)
    host.run_until(lambda: host.state("w0") == "held")

    host.post(ev.Resume(("w0",)))
    host.run(5)
    assert host.state("w0") == "held"
    assert host.slot("w0").reason.startswith("XID 79")
    host.post(ev.ReleaseSlot("w0"))

    host.run_until(lambda: host.state("w0") == "ready")


def test_a_device_that_is_held_again_and_again_waits_for_a_person() -> None:
    host = host_with(recovery_action="none")
    for _ in range(3):
        host.run_until(lambda: host.state("w0") == "ready")
        fault(host, 0, (79,), m.Act.HOLD)
        host.run(30)

    assert host.state("w0") == "held"
    assert host.pool.device_holds.holds["GPU-0"].proof.value == "hand"


def test_parts_of_one_gpu_share_its_faults() -> None:
    host = Host(workers=2)
    host.gpus = [replace(gpu(0), uuid=f"MIG-{n}", parent="GPU-0", mig_index=n) for n in range(2)]
    for n in range(2):
        host.pool.members[f"w{n}"].device, host.pool.members[f"w{n}"].parent = f"MIG-{n}", "GPU-0"
    host.begin().run_until(lambda: host.state("w1") == "ready")

    fault(host, 0, (79,), m.Act.HOLD)

    host.run_until(lambda: (host.state("w0"), host.state("w1")) == ("held", "held"), most_s=1)


def test_a_worker_that_finds_its_device_broken_leaves_a_record() -> None:
    host = host_with()
    fault(host, 0, (45,), m.Act.IGNORE)

    actions = host.pool.take(ev.Died("w0", 71, 0.5, said="CUDA failed"), host.now_s)

    record = next(action for action in actions if isinstance(action, ev.Crashed))
    assert (record.death, record.xids) == ("device", (45,))
    assert host.slot("w0").reason == "exit 71 (device broken): CUDA failed"


def test_a_device_fault_does_not_wake_what_an_operator_put_to_rest() -> None:
    host = host_with()
    host.drain("w0")
    host.run_until(lambda: host.state("w0") == "stopped")

    fault(host, 0, (79,), m.Act.HOLD)
    host.run(10)
    assert host.state("w0") == "stopped"
    host.post(ev.Resume(("w0",)))

    host.run_until(lambda: host.state("w0") == "held", most_s=5)


def test_a_stop_comes_to_its_end_whatever_is_held() -> None:
    host = host_with()
    fault(host, 0, (79,), m.Act.HOLD)
    change(host, 1, memory_used_bytes=9 * GIB)
    host.kill("w1", -6)
    host.run(5)

    host.stop()
    host.run(30)

    assert host.ended is not None
    assert host.ended.code == 0
