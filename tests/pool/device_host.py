"""A host in virtual time whose workers are on GPUs, and ways to make these fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from tests.pool.simulated_host import Host

GIB = 1024**3
CURE = "sudo nvidia-smi --gpu-reset -i GPU-0"


def gpu(n: int, **facts: Any) -> m.Device:
    own = {"memory_used_bytes": GIB // 2, "memory_total_bytes": 24 * GIB, "health": "ok", **facts}
    return m.Device(f"GPU-{n}", "L4", n, **own)


def host_with(count: int = 2, **facts: Any) -> Host:
    """A host whose worker n is on GPU n, all of them ready."""
    host = Host(workers=count)
    host.gpus = [gpu(n, **facts) for n in range(count)]
    for n in range(count):
        host.pool.members[f"w{n}"].device = f"GPU-{n}"
    host.begin()
    return host.run_until(lambda: all(host.state(f"w{n}") == "ready" for n in range(count)))


def change(host: Host, n: int, **facts: Any) -> None:
    host.gpus[n] = replace(host.gpus[n], **facts)


def fault(host: Host, n: int, xids: tuple[int, ...], act: m.Act, ago_s: float = 2.0, **more: Any) -> None:
    """gpuwatch told these XIDs a moment ago, and judges now."""
    for xid in xids:
        host.post(ev.MessageReceived("gpuwatch", m.Xid(f"GPU-{n}", xid, host.now_s - ago_s)))
    why = f"XID {xids[0]}: broken"
    told = m.Fault(f"GPU-{n}", xids, host.now_s - ago_s, act, why, CURE, **more)
    host.post(ev.MessageReceived("gpuwatch", told))


def hold_of(host: Host, name: str) -> tuple[str, Optional[float]]:
    return host.slot(name).hold.value, host.slot(name).wake_at_s
