"""New settings reach the workers one after the other, and a failure ends it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from supervisor.pool.rolling_reload import RollingReload
from supervisor.pool.state.slot_types import Slot, SlotState
from supervisor.settings.reloadable import ROLLED, changed_keys, with_rolled
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings


def slots(**states: SlotState) -> dict[str, Slot]:
    return {name: Slot(name, "worker", state, ready_at_s=10.0) for name, state in states.items()}


READY, DRAINING, STARTING = SlotState.READY, SlotState.DRAINING, SlotState.STARTING


def test_changed_settings_are_named_as_in_the_file() -> None:
    old = Settings()
    new = replace(
        old,
        transcription=replace(old.transcription, beam_size=1, model="small"),
        devices=replace(old.devices, cpu_threads=4),
        state_dir="/elsewhere",
    )

    assert sorted(changed_keys(old, new)) == [
        "devices.cpu_threads",
        "state_dir",
        "transcription.beam_size",
        "transcription.model",
    ]
    assert changed_keys(old, old) == []


def all_other(settings: TranscriptionSettings) -> TranscriptionSettings:
    """The settings with each value replaced by another one of its type."""
    others: dict[type, Any] = {str: "other", int: 7, float: 0.7, tuple: (0.7,)}
    values = dataclasses.asdict(settings).items()
    return TranscriptionSettings(**{key: others.get(type(value), not value) for key, value in values})


def test_only_what_a_new_worker_takes_up_comes_into_force() -> None:
    old = Settings()
    new = replace(old, transcription=all_other(old.transcription), devices=DevicesSettings("cuda", 7, 4))

    mixed = with_rolled(old, new)

    assert mixed.transcription == replace(new.transcription, profile="fast", batch_size=0)
    assert mixed.devices == DevicesSettings("auto", 0, 4)
    assert sorted(changed_keys(old, mixed)) == sorted(ROLLED)


def test_slots_are_restarted_one_after_the_other_each_when_the_one_before_is_ready_again() -> None:
    roll = RollingReload()
    roll.begin(["a", "b"])

    assert roll.step(slots(a=READY, b=READY), 20.0) == "a"
    assert roll.step(slots(a=DRAINING, b=READY), 21.0) is None
    assert roll.step(slots(a=STARTING, b=READY), 22.0) is None
    again = slots(a=READY, b=READY)
    assert roll.step(again, 23.0) is None  # still the life before: ready at 10
    again["a"] = replace(again["a"], ready_at_s=24.0)
    assert roll.step(again, 24.0) == "b"
    again["b"] = replace(again["b"], ready_at_s=30.0)
    assert roll.step(again, 30.0) is None
    assert (roll.under_way, roll.waiting, roll.failed) == ("", [], "")


def test_first_slot_that_does_not_get_ready_ends_the_roll_and_the_rest_goes_on_as_it_was() -> None:
    for state in (SlotState.BACKOFF, SlotState.HELD, SlotState.STOPPED):
        roll = RollingReload()
        roll.begin(["a", "b", "c"])
        roll.step(slots(a=READY, b=READY, c=READY), 20.0)

        assert roll.step(slots(a=state, b=READY, c=READY), 21.0) is None

        assert roll.failed == "a: not started yet"
        assert roll.step(slots(a=READY, b=READY, c=READY), 40.0) is None


def test_newer_reload_replaces_an_older_one() -> None:
    roll = RollingReload()
    roll.begin(["a", "b"])
    roll.step(slots(a=READY, b=READY), 20.0)
    roll.begin(["b"])

    assert roll.step(slots(a=STARTING, b=READY), 21.0) == "b"


def test_nothing_to_roll_is_nothing_to_do() -> None:
    assert RollingReload().step(slots(a=READY), 1.0) is None
