"""Holds the slots of unhealthy GPUs, and starts them again when the GPU is healthy. PURE.

The reason of a hold decides what ends it: the device answers again (it was lost or gone), the driver
requires no action any more, or an operator releases it. No worker runs on a held device. When the hold
ends and the memory gate is open, its slots start by themselves. Slots count the failed runs of workers,
this rule counts faults of devices: two separate budgets.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, replace
from typing import Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.rules.memory_gate import GATE_S, LOOK_EVERY_S, GateClosed, MemoryGate, by_uuid
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import GPUWATCH, Member, Mode
from supervisor.pool.state.state import PoolState

HISTORY_MOST = 64  # faults remembered for each device
HOLDS_MOST, HOLDS_WITHIN_S = 3, 3600.0  # held this often, only an operator releases it. A guess.
JOIN_S = 60.0  # an XID this long before an exit is recorded with it
DRAIN_S = 110.0


class Proof(str, enum.Enum):
    """What ends a device's hold."""

    ANSWER = "answer"  # the device is present again
    ACTION = "action"  # the driver requires no action any more
    HAND = "hand"  # an operator releases it


@dataclass(frozen=True)
class DeviceHold:
    why: str
    cure: str
    since_s: float
    proof: Proof
    gently: bool = False  # the running job may finish

    @property
    def text(self) -> str:
        return ". ".join(part for part in (self.why, self.cure) if part)


class DeviceHolds:
    """Held devices, and the history of their faults."""

    def __init__(self) -> None:
        self.gate = MemoryGate()
        self.holds: dict[str, DeviceHold] = {}
        self._faults: dict[str, deque[m.Fault]] = {}
        self._held_at_s: dict[str, deque[float]] = {}
        self._xids: dict[str, deque[m.Xid]] = {}
        self._waiting_since_s: dict[str, float] = {}  # by slot: since when its memory gate is closed

    # --- messages of gpuwatch ---------------------------------------------------------

    def on_devices(self, state: PoolState, told: m.Devices, now_s: float) -> None:
        """Process a report of gpuwatch; a failed poll says nothing about any device."""
        known = state.devices
        if told.failed and known is not None and not told.devices:
            told = replace(told, devices=tuple(map(_unknown, known.devices)))
        state.devices = told
        if told.failed:
            return
        workers = [member for member in state.workers() if member.device]
        busy = {w.device for w in workers if w.slot.state in sl.ALIVE and w.slot.pid}
        self.gate.learn(told, busy)
        seen = by_uuid(told)
        for uuid in {w.device for w in workers}:
            self._decide(state, uuid, seen.get(uuid), told.looked_at_s, now_s)

    def on_xid(self, xid: m.Xid) -> None:
        self._xids.setdefault(xid.uuid, deque(maxlen=HISTORY_MOST)).append(xid)

    def on_fault(self, state: PoolState, fault: m.Fault, now_s: float) -> None:
        """Hold or restart the slots of a GPU after a fault."""
        fault = self._with_history(fault, now_s)
        on_it = [w for w in state.workers() if fault.uuid and fault.uuid in (w.device, w.parent)]
        level = "error" if fault.act is m.Act.HOLD else "warning" if fault.act is not m.Act.IGNORE else "info"
        facts = {"device_uuid": fault.uuid, "act": fault.act.value, "reason": fault.why}
        if fault.act is m.Act.HOLD:  # a fault that only restarts a worker needs no operator action
            facts["cure"] = fault.cure
        state.note(
            level,
            "GPU fault",
            {"event": "gpu-fault", **facts, "slots": ", ".join(w.slot.name for w in on_it)},
        )
        if fault.act is m.Act.HOLD:
            for uuid in {w.device for w in on_it}:
                by_hand = fault.by_hand or self._held_too_often(uuid, now_s)
                proof = Proof.HAND if by_hand else Proof.ACTION
                self._hold(state, uuid, DeviceHold(fault.why, fault.cure, now_s, proof))
        elif fault.act is m.Act.RESTART:
            for worker in on_it:
                # A process started after the fault is already the replacement.
                if worker.slot.spawned_at_s < fault.at_s:
                    self._restart(state, worker, fault, now_s)

    def exclude_pause(self, lost_s: float) -> None:
        """Exclude the last `lost_s` seconds from the waiting time for memory gates."""
        for name in self._waiting_since_s:
            self._waiting_since_s[name] += lost_s

    # --- queries and orders -----------------------------------------------------------

    def release(self, state: PoolState, member: Member) -> None:
        """Release a slot's device on an operator's request."""
        for uuid in (member.device, member.parent):
            self.holds.pop(uuid, None)
            self._held_at_s.pop(uuid, None)
            self.gate.forget(uuid)

    def xids_of(self, member: Member, now_s: float) -> tuple[int, ...]:
        """Return the XIDs that the driver recently reported for a slot's device."""
        told = [xid for uuid in {member.device, member.parent} - {""} for xid in self._xids.get(uuid, ())]
        return tuple(dict.fromkeys(xid.xid for xid in told if now_s - xid.at_s <= JOIN_S))

    def next_wake_s(self) -> Optional[float]:
        return min((since_s + GATE_S for since_s in self._waiting_since_s.values()), default=None)

    # --- after every event --------------------------------------------------------------

    def after_event(self, state: PoolState, now_s: float) -> None:
        """Hold the slots of held devices, and start those whose device is healthy again."""
        for member in state.workers():
            if member.slot.state is not sl.SlotState.STARTING:
                self._waiting_since_s.pop(member.slot.name, None)  # it was stopped while it waited
            hold = self.holds.get(member.device) if member.device else None
            if hold is not None:
                self._hold_slot(state, member, hold, now_s)
            elif state.mode is Mode.RUNNING and self._is_proven(state, member):
                state.decide(member, sl.Begin(), now_s)

    def may_start(self, state: PoolState, member: Member, now_s: float) -> bool:
        """Return whether a slot's next process may start; if not, its reason says what it waits for."""
        name = member.slot.name
        if not member.device or member.slot.state is not sl.SlotState.STARTING:
            return True
        if member.refusal or member.device in self.holds:
            hold = self.holds.get(member.device)
            why = hold.text if hold is not None else member.refusal
            state.decide(member, sl.HoldIt(why, sl.Hold.PROOF), now_s)
            return False
        closed = self._why_closed(state, member)
        if closed is None:
            self._waiting_since_s.pop(name, None)
            return True
        since_s = self._waiting_since_s.setdefault(name, now_s)
        if since_s == now_s:
            state.send(GPUWATCH, m.Look(LOOK_EVERY_S, now_s + GATE_S))
        if now_s < since_s + GATE_S:
            state.decide(member, sl.Queued(f"{closed.why}, for {now_s - since_s:.0f} s"), now_s)
            return False
        del self._waiting_since_s[name]
        if closed.unknown:
            return True  # without reports of gpuwatch work continues
        state.decide(member, sl.HoldIt(f"{closed.why}. {_memory_cure(name, closed)}", sl.Hold.PROOF), now_s)
        return False

    # --- inside -------------------------------------------------------------------------

    def _restart(self, state: PoolState, worker: Member, fault: m.Fault, now_s: float) -> None:
        """Restart a slot's process after a fault that requires no more than that.

        A worker whose device failed has often exited with DEVICE_BROKEN before the fault is reported. Then
        its slot is held for the device, and the fault's action overrides that hold.
        """
        if worker.slot.state in sl.ALIVE:
            worker.by_device = True
            state.decide(worker, sl.Kill(fault.why, fault=True), now_s)
        elif (
            worker.slot.hold is sl.Hold.DEVICE
            and worker.gone_at_s >= fault.at_s
            and state.mode is Mode.RUNNING
        ):
            state.decide(worker, sl.Begin(), now_s)

    def _is_proven(self, state: PoolState, member: Member) -> bool:
        """Return whether the device of a held slot is proven healthy."""
        waits = member.slot.hold is sl.Hold.PROOF and not member.refusal
        return waits and self._why_closed(state, member) is None

    def _why_closed(self, state: PoolState, member: Member) -> Optional[GateClosed]:
        devices, device = state.devices, member.device
        fresh = devices is not None and not devices.failed and devices.looked_at_s >= member.gone_at_s
        others = [w for w in state.workers() if w.device == device and w is not member]
        shared = any(w.slot.state in sl.ALIVE and w.slot.pid for w in others)
        return self.gate.closed(by_uuid(devices).get(device), fresh, shared, member.need_bytes)

    def _decide(
        self, state: PoolState, uuid: str, gpu: Optional[m.Device], looked_at_s: float, now_s: float
    ) -> None:
        """Hold or release one device by its reported health."""
        held = self.holds.get(uuid)
        if gpu is None or gpu.health == "lost":
            why = f"{uuid} is gone" if gpu is None else f"{uuid} has fallen off the bus"
            if held is None or held.proof is Proof.ACTION:
                cure = (
                    held.cure
                    if held is not None
                    else "Reboot; if the fault comes back, have the GPU replaced"
                )
                why = f"{held.why}; {why}" if held is not None else why
                self._hold(state, uuid, DeviceHold(why, cure, now_s, Proof.ANSWER))
        elif gpu.health == "sick":
            if held is None or held.proof is Proof.ANSWER:
                what = f"driver recovery action: {gpu.recovery_action}"
                why = "a memory row could not be remapped" if gpu.remap_failed else what
                gently = gpu.recovery_action == "drain-and-reset"
                self._hold(state, uuid, DeviceHold(why, gpu.cure, now_s, Proof.ACTION, gently))
        elif held is not None and looked_at_s > held.since_s and _is_proven(held, gpu):
            del self.holds[uuid]
            facts = {"device_uuid": uuid, "was": held.why, "held_s": round(now_s - held.since_s, 1)}
            state.note("info", "GPU is healthy again", {"event": "device-released", **facts})

    def _hold(self, state: PoolState, uuid: str, hold: DeviceHold) -> None:
        self.holds[uuid] = hold
        self._held_at_s.setdefault(uuid, deque(maxlen=HOLDS_MOST)).append(hold.since_s)
        facts = {"device_uuid": uuid, "reason": hold.why, "cure": hold.cure, "until": hold.proof.value}
        state.note("error", "GPU held", {"event": "device-held", **facts})

    def _hold_slot(self, state: PoolState, member: Member, hold: DeviceHold, now_s: float) -> None:
        slot = member.slot
        self._waiting_since_s.pop(slot.name, None)
        if slot.state is sl.SlotState.STOPPED or slot.hold is sl.Hold.SETTINGS:
            return  # stopped, or waiting for an operator; the hold applies to its next start
        if slot.hold is sl.Hold.PROOF and slot.reason.startswith(hold.why):
            return
        if slot.state is sl.SlotState.KILLING and slot.next is not sl.Next.RESTART:
            return
        if hold.gently and slot.state is sl.SlotState.READY:
            state.decide(member, sl.BeginDrain(now_s + DRAIN_S, hold.text, sl.Next.HOLD), now_s)
        elif not (hold.gently and slot.state is sl.SlotState.DRAINING):
            member.by_device = slot.state in sl.ALIVE
            state.decide(member, sl.HoldIt(hold.text, sl.Hold.PROOF), now_s)

    def _with_history(self, fault: m.Fault, now_s: float) -> m.Fault:
        """Turn a restart into a hold if the same fault occurred too often."""
        before = self._faults.setdefault(fault.uuid, deque(maxlen=HISTORY_MOST))
        alike = [
            one for one in before if set(one.xids) & set(fault.xids) and now_s - one.at_s <= fault.within_s
        ]
        before.append(fault)
        if fault.act is not m.Act.RESTART or not fault.most_count or len(alike) + 1 < fault.most_count:
            return fault
        why = f"{fault.why}, {len(alike) + 1} times within {fault.within_s / 3600:.0f} h"
        return replace(fault, act=m.Act.HOLD, why=why)

    def _held_too_often(self, uuid: str, now_s: float) -> bool:
        held = [at_s for at_s in self._held_at_s.get(uuid, ()) if now_s - at_s <= HOLDS_WITHIN_S]
        return len(held) + 1 >= HOLDS_MOST


def _is_proven(hold: DeviceHold, gpu: m.Device) -> bool:
    """Return whether the report on a GPU that is neither lost nor unhealthy ends its hold."""
    if hold.proof is Proof.ANSWER:
        return True
    return hold.proof is Proof.ACTION and gpu.recovery_action == "none"


def _memory_cure(slot: str, closed: GateClosed) -> str:
    """Return what to do about memory that stays in use after its worker exited."""
    end = "End what uses it (nvidia-smi shows it), and the slot starts by itself; or "
    if closed.is_too_full:
        return f"{end}choose a smaller model (WHISPER_MODEL)"
    return f"{end}accept this as its idle memory: rem-supervisor release {slot}"


def _unknown(gpu: m.Device) -> m.Device:
    return m.Device(
        gpu.uuid, gpu.name, gpu.index, memory_total_bytes=gpu.memory_total_bytes, parent=gpu.parent,
        mig_index=gpu.mig_index, cpus=gpu.cpus,
    )  # fmt: skip
