"""Devices fail in any way at any time, beside all that dies: no job is lost, and what heals works again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state.slot_types import SlotState
from tests.pool.device_host import GIB, change, fault, gpu, host_with
from tests.pool.simulated_host import Host

COUNT = 3
JOBS = tuple("abcdef")
GPUS = st.integers(0, COUNT - 1)
LOOKS: tuple[dict[str, Any], ...] = (
    {"health": "lost"},
    {"health": "sick", "recovery_action": "gpu-reset"},
    {"health": "sick", "recovery_action": "drain-and-reset"},
    {"memory_used_bytes": 20 * GIB},
    {"memory_used_bytes": None, "health": "unknown"},
    {"health": "ok", "recovery_action": "none", "memory_used_bytes": GIB // 2},
)
LOOK = st.tuples(st.just("look"), GPUS, st.sampled_from(LOOKS))
FAULT = st.tuples(st.just("fault"), GPUS, st.sampled_from([m.Act.HOLD, m.Act.RESTART, m.Act.WARN]))
OTHER = st.tuples(
    st.sampled_from(["die", "vanish", "nvml", "release", "drain one", "resume"]), GPUS, st.none()
)
BLOWS = st.lists(st.tuples(st.one_of(LOOK, FAULT, OTHER), st.floats(0, 40)), min_size=1, max_size=12)


def strike(host: Host, what: str, n: int, how: Any) -> None:
    """Let one thing happen to GPU n, to its worker or to the driver."""
    known = [one.index for one in host.gpus]
    if what == "look" and n in known:
        change(host, known.index(n), **how)
    elif what == "fault":
        fault(host, n, (79,), how, most_count=3, within_s=3600.0)
    elif what == "die" and f"w{n}" in host.processes:
        host.kill(f"w{n}", -6)
    elif what == "vanish" and n in known:
        del host.gpus[known.index(n)]
    elif what == "nvml":
        host.nvml = "" if host.nvml else "NVML error 999"
    elif what == "release" and host.state(f"w{n}") == "held":
        host.post(ev.ReleaseSlot(f"w{n}"))
    elif what == "drain one":
        host.drain(f"w{n}", within_s=15)
    elif what == "resume":
        host.post(ev.Resume(()))


def held_without_worker(host: Host) -> None:
    """What must hold at every moment: no worker lives long on a device that is held."""
    for member in host.pool.workers():
        hold = host.pool.device_holds.holds.get(member.device)
        if hold is not None and not hold.gently:
            assert member.slot.state not in (SlotState.READY, SlotState.DRAINING), member.slot


@settings(max_examples=60)
@given(BLOWS)
# A moment that, taken from `now`, is a hair less than the time that was asked for.
@example([(("nvml", 0, None), 1.792072538150613), (("fault", 0, m.Act.RESTART), 20.0)])
def test_no_job_is_lost_and_all_slots_work_again_once_all_is_well(
    blows: list[tuple[tuple[str, int, Any], float]],
) -> None:
    host = host_with(COUNT, recovery_action="none")
    host.enqueue(*JOBS, takes_s=30)

    for (what, n, how), pause_s in blows:
        strike(host, what, n, how)
        held_without_worker(host)
        host.run(pause_s)
        held_without_worker(host)
    host.nvml = ""
    host.gpus = [replace(gpu(n), recovery_action="none") for n in range(COUNT)]
    host.run(60)
    for n in range(COUNT):
        host.post(ev.ReleaseSlot(f"w{n}"))
    host.post(ev.Resume(()))

    host.run_until(lambda: all(host.state(f"w{n}") == "ready" for n in range(COUNT)), most_s=900, step_s=5)
    host.run_until(
        lambda: len(set(host.ended_as(m.Ending.DONE) + host.ended_as(m.Ending.FAILED))) == len(JOBS)
    )
