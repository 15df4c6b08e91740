"""Whatever can be said or happen has a handler: a new message type is no KeyError in production."""

from __future__ import annotations

from typing import get_args

from supervisor.contract.wire import messages as m
from supervisor.pool import pool
from supervisor.pool.rules import messages_in
from supervisor.pool.state.events import PoolEvent
from supervisor.pool.state.slot import _DUE, _HANDLERS
from supervisor.pool.state.slot_types import Event, SlotState


def test_every_message_of_a_child_has_its_handler() -> None:
    assert set(messages_in._HANDLERS) == {*m.FROM_WORKER, *m.FROM_BROKER, *m.FROM_GPUWATCH}


def test_every_list_of_messages_names_what_its_type_allows() -> None:
    for listed, allowed in (
        (m.FROM_WORKER, m.FromWorker), (m.TO_WORKER, m.ToWorker), (m.FROM_BROKER, m.FromBroker),
        (m.TO_BROKER, m.ToBroker), (m.FROM_GPUWATCH, m.FromGpuwatch),
    ):  # fmt: skip
        assert set(listed) == set(get_args(allowed))
    assert (m.ToGpuwatch,) == m.TO_GPUWATCH


def test_every_event_of_the_pool_has_its_handler() -> None:
    assert set(pool._HANDLERS) == set(get_args(PoolEvent))


def test_every_event_of_a_slot_has_its_handler() -> None:
    assert set(_HANDLERS) == set(get_args(Event))


def test_every_state_says_what_follows_when_its_time_is_over() -> None:
    assert set(_DUE) == set(SlotState)
