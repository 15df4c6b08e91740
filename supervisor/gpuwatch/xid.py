"""Maps an XID error to an action: the driver's recovery action, then a table, then settings. PURE.

An XID is an error number that the NVIDIA driver reports. One fault can cause many: a burst is judged as one
fault, by its most severe XID. Tools disagree on some numbers, so `[devices] xid` can override the table.
Source of the table: NVIDIA's XID catalogue and the tools named in this project's facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire.messages import Act, Fault

HOUR_S = 3600.0
DAY_S = 86_400.0
ACTIONS = {
    0: "none", 1: "gpu-reset", 2: "node-reboot", 3: "drain-p2p", 4: "drain-and-reset",
    5: "recover-imex-domain", 6: "bus-reset", 7: "system-reboot",
}  # fmt: skip
"""Values of NVML's field 230, the driver's recovery action."""

# A worker uses one GPU: actions for peers and whole racks do not affect it.
HARMLESS_ACTIONS = frozenset(("none", "drain-p2p", "recover-imex-domain"))


@dataclass(frozen=True)
class Rule:
    """One row of the table. `most_count` faults of it within `within_s` hold the device; 0: never."""

    act: Act
    description: str
    needs: str = ""  # what cures a held device: reset or reboot
    most_count: int = 0
    within_s: float = 0.0


# An application fault that several workers have is the device's fault. Three is a guess.
_WORKER = Rule(Act.RESTART, "application or driver fault", "reset", 3, HOUR_S)
_TWICE = Rule(Act.RESTART, "driver fault", "reset", 2, HOUR_S)
_ECC = Rule(Act.RESTART, "contained memory fault", "reset", 2, DAY_S)
_ONCE = Rule(Act.RESTART, "context switch timed out", "reset", 2, DAY_S)
_LOG = Rule(Act.IGNORE, "follow-up error, or handled by the driver")
_RESET = Rule(Act.HOLD, "hardware or firmware fault", "reset")
_REBOOT = Rule(Act.HOLD, "hardware fault", "reboot")
_LINK = Rule(Act.WARN, "NVLink fault; workers on a single GPU continue")
_ACTION = Rule(Act.WARN, "the driver changed its recovery action")
_UNKNOWN = Rule(Act.WARN, "unknown fault")
_OVERRIDES = {
    "restart": Rule(Act.RESTART, "restart, by [devices] xid"),
    "hold": Rule(Act.HOLD, "hold, by [devices] xid", "reset"),
    "ignore": Rule(Act.IGNORE, "ignored, by [devices] xid"),
}


def _table() -> dict[int, Rule]:
    rows: tuple[tuple[Rule, Iterable[int]], ...] = (
        (_WORKER, (13, 31, 8, 11, 25, 39, 40, 41, 68, 69, 60, *range(82, 87), 88, 89, *range(96, 106))),
        (_WORKER, (*range(126, 136), 139)),
        (_TWICE, (32, 44)),
        (_LOG, (43, 45, 63, 92, 121, 141, 152, 153, 157, 160, 161)),  # 45 follows every kill
        (_ECC, (94,)),
        (_ONCE, (109,)),
        (_RESET, (46, 48, 61, 62, 95, 110, 119, 120, 136, 155, 156, 158, 167, 169)),
        (_REBOOT, (54, 64, 79, 140, 143)),
        (_LINK, (74,)),
        (_ACTION, (154,)),
    )
    return {xid: rule for rule, xids in rows for xid in xids}


TABLE: Mapping[int, Rule] = _table()
_SEVERITY = tuple(Act)


def rule_of(xid: int, overrides: Mapping[str, str]) -> Rule:
    """Return the rule for an XID; settings take precedence."""
    return _OVERRIDES.get(overrides.get(str(xid), "")) or TABLE.get(xid, _UNKNOWN)


def action_name(value: Optional[int]) -> Optional[str]:
    """Return the name of a recovery action, for an unknown one with its number; None stays None."""
    return None if value is None else ACTIONS.get(value, f"action-{value}")


def action_after(xids: Iterable[int]) -> str:
    """Return the recovery action that a driver reports after these XIDs, by the table."""
    needs = {rule.needs for rule in map(TABLE.get, xids) if rule is not None and rule.act is Act.HOLD}
    return "node-reboot" if "reboot" in needs else "gpu-reset" if "reset" in needs else "none"


def wants_hold(recovery_action: Optional[str]) -> bool:
    """Return whether the driver requires an action before the GPU is used again."""
    return recovery_action is not None and recovery_action not in HARMLESS_ACTIONS


def judge(
    uuid: str,
    xids: Sequence[int],
    at_s: float,
    recovery_action: Optional[str],
    overrides: Mapping[str, str],
    whole: str = "",
) -> Fault:
    """Return the action that one burst of XIDs requires.

    The driver's recovery action overrides the table: if it requires an action, the device is held; if it
    requires none, an XID holds the device only if the settings say so. `whole` is the GPU of a MIG device:
    only the whole GPU can be reset.
    """
    whole = whole or uuid
    rules = {xid: rule_of(xid, overrides) for xid in xids}
    worst = max(rules, key=lambda xid: (_SEVERITY.index(rules[xid].act), rules[xid].needs == "reboot"))
    rule, named = rules[worst], f"XID {', '.join(map(str, sorted(rules)))}"
    by_hand = rule.act is Act.HOLD and str(worst) in overrides
    if wants_hold(recovery_action):
        needs = "reboot" if "reboot" in str(recovery_action) else "reset"
        why = f"{named}: {rule.description}; driver recovery action: {recovery_action}"
        return Fault(uuid, tuple(xids), at_s, Act.HOLD, why, cure(whole, needs))
    if recovery_action is not None and rule.act is Act.HOLD and not by_hand:
        why = f"{named}: {rule.description}; the driver requires no action"
        return Fault(uuid, tuple(xids), at_s, Act.RESTART, why, cure(whole, rule.needs), 2, HOUR_S)
    return Fault(
        uuid, tuple(xids), at_s, rule.act, f"{named}: {rule.description}", cure(whole, rule.needs),
        rule.most_count, rule.within_s, by_hand,
    )  # fmt: skip


def cure(uuid: str, needs: str) -> str:
    """Return the command as text; only an operator runs it."""
    if needs == "reboot":
        return "Reboot this machine (sudo systemctl reboot); if the fault occurs again, have the GPU replaced"
    if needs == "reset":
        return f"Stop the processes that use it, then: sudo nvidia-smi --gpu-reset -i {uuid}"
    return ""
