"""What an XID asks for: the driver's word first, then the table, then the settings."""

from __future__ import annotations

from typing import Optional

import pytest

from supervisor.contract.wire.messages import Act, Xid
from supervisor.gpuwatch.xid import TABLE, action_after, action_name, cure, judge, wants_hold
from supervisor.gpuwatch.xid_bursts import COLLECT_S, XidBursts

U = "GPU-a"


def act(xids: list[int], action: Optional[str] = None, **overrides: str) -> Act:
    return judge(U, xids, 1.0, action, {key[1:]: word for key, word in overrides.items()}).act


@pytest.mark.parametrize(
    ("xid", "expected"),
    [
        *((xid, Act.RESTART) for xid in (8, 11, 13, 25, 31, 32, 39, 41, 44, 60, 68, 69, 82, 86, 88, 89, 94)),
        *((xid, Act.RESTART) for xid in (96, 105, 109, 126, 135, 139)),
        *((xid, Act.IGNORE) for xid in (43, 45, 63, 92, 121, 141, 152, 153, 157, 160, 161)),
        *((xid, Act.HOLD) for xid in (46, 48, 61, 62, 95, 110, 119, 120, 136, 155, 156, 158, 167, 169)),
        *((xid, Act.HOLD) for xid in (54, 64, 79, 140, 143)),
        *((xid, Act.WARN) for xid in (74, 154, 122, 125, 999, 1, 200)),
    ],
)
def test_without_a_recovery_action_the_table_decides(xid: int, expected: Act) -> None:
    assert act([xid]) is expected


@pytest.mark.parametrize("action", ["gpu-reset", "node-reboot", "drain-and-reset", "bus-reset", "action-9"])
@pytest.mark.parametrize("xid", [31, 45, 79, 999])
def test_a_recovery_action_holds_whatever_the_table_says(xid: int, action: str) -> None:
    assert act([xid], action) is Act.HOLD


def test_a_driver_that_wants_nothing_done_gets_a_restart_where_the_table_would_hold() -> None:
    fault = judge(U, [79], 1.0, "none", {})

    assert (fault.act, fault.most_count) == (Act.RESTART, 2)  # once more, and it is held all the same
    assert act([45], "none") is Act.IGNORE


@pytest.mark.parametrize("action", [None, "none", "drain-p2p"])
def test_an_unknown_xid_never_holds_on_its_own(action: Optional[str]) -> None:
    assert act([777], action) is Act.WARN


def test_the_settings_have_the_last_word_on_an_xid_but_not_on_the_drivers_wish() -> None:
    assert act([79], _79="restart") is Act.RESTART
    assert act([31], _31="ignore") is Act.IGNORE
    assert act([63], "none", _63="hold") is Act.HOLD
    assert judge(U, [63], 1.0, "none", {"63": "hold"}).by_hand
    assert act([31], "gpu-reset", _31="ignore") is Act.HOLD


def test_the_worst_of_a_burst_decides_and_all_of_it_is_named() -> None:
    fault = judge(U, [45, 79, 48], 1.0, None, {})

    assert fault.act is Act.HOLD
    assert fault.why == "XID 45, 48, 79: hardware fault"
    assert "systemctl reboot" in fault.cure


@pytest.mark.parametrize("xids", [[48, 79], [79, 48]])
def test_where_one_xid_wants_a_reset_and_another_a_reboot_it_is_the_reboot(xids: list[int]) -> None:
    """Whichever came first: a reset does not bring back a GPU that fell off the bus."""
    fault = judge(U, xids, 1.0, None, {})

    assert (fault.why, fault.cure) == ("XID 48, 79: hardware fault", cure(U, "reboot"))
    assert action_after(xids) == "node-reboot"


def test_a_cure_is_a_whole_command() -> None:
    assert judge(U, [48], 1.0, None, {}).cure.endswith("sudo nvidia-smi --gpu-reset -i GPU-a")
    assert "reboot" in judge(U, [13], 1.0, "system-reboot", {}).cure


@pytest.mark.parametrize(
    ("xid", "most_count", "within_s"),
    [(31, 3, 3600.0), (44, 2, 3600.0), (94, 2, 86400.0), (109, 2, 86400.0), (48, 0, 0.0)],
)
def test_faults_that_come_again_hold_after_their_own_count(
    xid: int, most_count: int, within_s: float
) -> None:
    fault = judge(U, [xid], 1.0, None, {})

    assert (fault.most_count, fault.within_s) == (most_count, within_s)


def test_every_row_that_holds_names_a_cure() -> None:
    assert [xid for xid, rule in TABLE.items() if rule.act is Act.HOLD and not rule.needs] == []


def test_recovery_actions_are_words_and_unlisted_ones_are_not_taken_for_none() -> None:
    assert [action_name(n) for n in (None, 0, 1, 2, 42)] == [
        None,
        "none",
        "gpu-reset",
        "node-reboot",
        "action-42",
    ]
    assert [wants_hold(name) for name in (None, "none", "drain-p2p", "action-42")] == [
        False,
        False,
        False,
        True,
    ]


def test_xids_of_one_gpu_within_a_moment_are_one_fault() -> None:
    bursts = XidBursts()
    for xid, at_s in ((79, 10.0), (45, 10.5), (79, 11.0)):
        bursts.add(Xid("GPU-a", xid, at_s))
    bursts.add(Xid("GPU-b", 31, 11.5))

    assert list(bursts.due(10.0 + COLLECT_S - 0.1)) == []
    assert [(one.uuid, one.xids, one.at_s) for one in bursts.due(10.0 + COLLECT_S)] == [
        ("GPU-a", [79, 45], 10.0)
    ]
    assert bursts.next_due_at_s() == 11.5 + COLLECT_S


def test_a_gpu_that_tells_without_end_fills_no_memory() -> None:
    bursts = XidBursts()
    for n in range(10_000):
        bursts.add(Xid("GPU-a", n, 1.0))

    assert len(next(bursts.due(9.0)).xids) == 64
