"""When the next worker may start: clean memory, a free place, and a watch that need not answer."""

from __future__ import annotations

from dataclasses import replace

from supervisor.contract.wire import messages as m
from supervisor.pool.rules.memory_gate import GATE_S, MemoryGate
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot import decide
from tests.pool.device_host import GIB, change, gpu, host_with
from tests.pool.simulated_host import Host


def test_memory_that_stays_held_closes_the_gate_and_is_named() -> None:
    host = host_with()
    change(host, 0, memory_used_bytes=9 * GIB, processes=("4711 python3",))

    host.kill("w0", -6)
    host.run(5)
    assert host.state("w0") == "starting"
    assert host.slot("w0").pid == 0
    assert (
        "9.0 of 24.0 GiB of GPU-0 are in use by 4711 python3, 0.5 when idle, for 5 s"
        in host.slot("w0").reason
    )
    host.run(GATE_S)
    assert host.state("w0") == "held"
    assert "by 4711 python3" in host.slot("w0").reason
    assert host.state("w1") == "ready"
    change(host, 0, memory_used_bytes=GIB // 2)

    host.run_until(lambda: host.state("w0") == "ready", most_s=20)


def test_memory_that_is_freed_soon_delays_a_start_by_fractions_of_a_second() -> None:
    host = host_with()
    change(host, 0, memory_used_bytes=9 * GIB)
    host.kill("w0", -6)
    host.run(1)

    change(host, 0, memory_used_bytes=GIB // 2)

    host.run_until(lambda: host.slot("w0").pid > 0, most_s=0.5)


def test_a_person_vouches_for_memory_that_is_held_by_others() -> None:
    host = host_with()
    change(host, 0, memory_used_bytes=9 * GIB)
    host.kill("w0", -6)
    host.run_until(lambda: host.state("w0") == "held")

    host.post(ev.ReleaseSlot("w0"))

    host.run_until(lambda: host.state("w0") == "ready", most_s=20)


def test_a_model_that_would_not_find_its_memory_is_not_started() -> None:
    host = Host(workers=1)
    host.gpus = [gpu(0, memory_used_bytes=20 * GIB)]
    host.pool.members["w0"].device = "GPU-0"
    host.pool.members["w0"].need_bytes = 10 * GIB

    host.begin().run(GATE_S + 5)

    assert host.state("w0") == "held"
    reason = host.slot("w0").reason
    assert reason.startswith("20.0 of 24.0 GiB of GPU-0 are in use, and the model needs about 10.0. ")
    assert "smaller model" in reason


def test_nvml_that_fails_as_a_whole_disturbs_nobody_and_health_is_unknown() -> None:
    host = host_with()
    pids = [host.slot(name).pid for name in ("w0", "w1")]

    host.nvml, host.gpus = "NVML error 999", []
    host.enqueue("a", "b", "c", takes_s=20)
    host.run(300)

    assert [host.slot(name).pid for name in ("w0", "w1")] == pids
    assert host.ended_as(m.Ending.DONE) == ["a", "b", "c"]
    assert host.pool.devices is not None
    assert [one.health for one in host.pool.devices.devices] == ["unknown", "unknown"]


def test_a_worker_that_dies_while_nobody_can_see_the_gpus_is_replaced_all_the_same() -> None:
    host = host_with()
    host.nvml = "the driver hangs"
    host.run(10)

    host.kill("w0", -6)

    assert host.state("w0") == "starting"
    host.run_until(lambda: host.state("w0") == "ready", most_s=GATE_S + 10)


def test_a_watch_that_falls_silent_is_replaced_and_the_workers_work_on() -> None:
    host = host_with()
    pids = [host.slot(name).pid for name in ("w0", "w1")]
    silent = host.processes["gpuwatch"]

    host.enqueue("a", "b", takes_s=100)
    silent.say = lambda message: None  # type: ignore[method-assign]  # as a process that is stopped
    host.run_until(lambda: host.slot("gpuwatch").pid not in (0, silent.pid), most_s=200)

    host.run(60)
    assert host.state("gpuwatch") == "ready"
    assert [host.slot(name).pid for name in ("w0", "w1")] == pids
    assert host.ended_as(m.Ending.DONE) == ["a", "b"]


def test_a_watch_that_does_not_die_is_left_behind_once_and_replaced() -> None:
    host = host_with()
    host.pool.members["gpuwatch"].policy = replace(
        host.pool.members["gpuwatch"].policy, may_leave_behind=True, silence_s=20.0
    )
    stuck = host.processes["gpuwatch"]
    stuck.immortal = True
    host.post(ev.SlotEvent("gpuwatch", sl.Kill("silent", fault=True)))

    host.run_until(lambda: host.state("gpuwatch") == "ready")

    assert host.processes["gpuwatch"] is not stuck
    assert f"pid {stuck.pid} does not die" in host.alarms[0]
    host.processes["gpuwatch"].immortal = True
    host.post(ev.SlotEvent("gpuwatch", sl.Kill("silent", fault=True)))
    host.run(300)
    assert host.state("gpuwatch") == "killing", "one left behind is enough: they would pile up"


def test_a_place_that_somebody_else_has_is_tried_again_and_never_held() -> None:
    policy, slot = sl.Policy(), sl.Slot("w0", "worker")
    for n in range(20):
        slot, _ = decide(slot, sl.Begin() if n == 0 else sl.Tick(), policy, 10.0 * n)
        slot, _ = decide(slot, sl.SpawnFailed("taken by pid 7", blocked=True), policy, 10.0 * n)
        assert (slot.state, slot.failures, slot.reason) == (sl.SlotState.BACKOFF, 0, "taken by pid 7")


def test_for_how_long_a_place_is_taken_is_told() -> None:
    host = host_with()
    host.starts_fail.add("w0")
    host.blocked = True
    host.kill("w0", -6)

    host.run(21)
    assert host.slot("w0").reason == "no such file, for 20 s"
    host.starts_fail.clear()

    host.run_until(lambda: host.state("w0") == "ready")


def test_a_slot_that_is_told_to_rest_while_it_waits_at_the_gate_wakes_nobody() -> None:
    """The simulator fails loudly where the pool asks to be woken without end."""
    host = host_with()
    change(host, 0, memory_used_bytes=9 * GIB)
    host.kill("w0", -6)
    host.run(5)

    host.drain("w0")

    host.run(GATE_S + 60)
    assert host.state("w0") == "stopped"


def test_memory_is_learnt_as_idle_only_while_no_worker_of_ours_is_on_the_device() -> None:
    """What others use may shrink while a worker runs: that figure is not what is normal without one."""
    gate, one = MemoryGate(), gpu(0, memory_used_bytes=8 * GIB)
    gate.learn(m.Devices((one,)), busy=())

    gate.learn(m.Devices((replace(one, memory_used_bytes=2 * GIB),)), busy=(one.uuid,))

    assert gate.closed(one, fresh=True, shared=False, need_bytes=0) is None
