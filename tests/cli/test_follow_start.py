"""After `release` the person learns what became of it: scripted statuses, virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.follow_start import LOOK_EVERY_S, follow_start

FOLLOW = {"slot": "gpu1", "sure_after_s": 0.0, "most_s": 10.0}
STARTING, READY = ("starting", "loading"), ("ready", "")


def outcome(states: Sequence[tuple[str, str]], **follow: float) -> str:
    """Show these states one after the other, the last one for ever."""
    looks = [0]

    def status() -> Any:
        state, reason = states[min(looks[0], len(states) - 1)]
        return {
            "slots": [{"name": "gpu0", "state": "held"}, {"name": "gpu1", "state": state, "reason": reason}]
        }

    def wait(_for_s: float) -> None:
        looks[0] += 1

    return follow_start({**FOLLOW, **follow}, status, lambda: looks[0] * LOOK_EVERY_S, wait)


def test_a_start_that_succeeds_is_told_as_soon_as_it_is_sure() -> None:
    assert outcome([STARTING, STARTING, READY]) == "gpu1 is ready."


def test_a_slot_that_is_held_again_fails_with_the_reason() -> None:
    with pytest.raises(CommandFailed, match="gpu1 is held again: XID 79"):
        outcome([STARTING, READY, READY, ("held", "XID 79")], sure_after_s=7.0)


def test_a_start_that_fails_is_told() -> None:
    with pytest.raises(CommandFailed, match="gpu1 is in back-off: exit 1"):
        outcome([STARTING, ("backoff", "exit 1")])


def test_a_start_that_takes_long_is_not_waited_for() -> None:
    assert outcome([STARTING]) == (
        "gpu1 is still starting (loading); `rem-supervisor status` shows when it is ready."
    )


def test_a_status_that_makes_no_sense_breaks_nothing() -> None:
    assert "still gone" in follow_start({**FOLLOW, "most_s": 0}, lambda: None, lambda: 0.0, lambda _s: None)
