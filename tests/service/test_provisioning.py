"""The budgets of the children that always exist."""

from __future__ import annotations

import pytest

from supervisor.broker.receiving.counting import BEAT_S
from supervisor.pool.state import events as ev
from supervisor.service.provisioning import BROKER_SILENCE_LEAST_S, own_policies

START_S = 5.0  # of the successor, with room to spare


@pytest.mark.parametrize("lease_s", [60.0, 45.0, 300.0, 900.0])
def test_frozen_broker_is_replaced_while_its_leases_still_run(lease_s: float) -> None:
    """It was "ready" for five minutes, while leases of one minute ran out."""
    policy = own_policies(lease_s)[ev.BROKER]
    extended_before_s = lease_s / 3 * 1.1  # at most, when it freezes

    assert extended_before_s + policy.silence_s + policy.gone_s + START_S <= lease_s


@pytest.mark.parametrize("lease_s", [10.0, 30.0, 60.0])
def test_broker_is_never_replaced_before_two_of_its_words_are_overdue(lease_s: float) -> None:
    assert own_policies(lease_s)[ev.BROKER].silence_s >= BROKER_SILENCE_LEAST_S >= 2 * BEAT_S
