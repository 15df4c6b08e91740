"""Calls of the broker's lanes share boto3's connections."""

from __future__ import annotations

from supervisor.broker.backends import aws
from supervisor.broker.work.executor import LANES


def test_there_is_a_connection_for_every_call_that_the_lanes_make_at_once() -> None:
    assert sum(LANES.values()) == aws.CALLS_MOST
