"""The time by a service's Date headers: right to a second, whatever this host's wall clock says."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from unittest import mock

import pytest

from supervisor.broker.backends.dynamodb import DynamoRecords
from supervisor.broker.backends.service_clock import ServiceClock
from supervisor.broker.ports.ports import Change, Missing, RecordKey
from supervisor.broker.rules.record_rules import RecordHold
from supervisor.contract import clock
from tests.broker.aws_servers import AwsServer, deploy

TRUE_OFFSET_S = 1_795_000_000.25  # the service's time less our host clock


def date_at(now_s: float) -> str:
    """What a service writes that answers at this moment: whole seconds, cut off."""
    return formatdate(int(now_s + TRUE_OFFSET_S), usegmt=True)


@pytest.fixture
def host_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1_000.0]
    monkeypatch.setattr(clock, "now_s", lambda: moment[0])
    monkeypatch.setattr(clock, "wall_unix_s", lambda: 5.0)  # set to 1970
    return moment


def test_wall_clock_counts_until_a_service_has_answered(host_clock: list[float]) -> None:
    assert ServiceClock().unix_s() == 5.0


@pytest.mark.parametrize("took_s", [0.01, 0.5, 2.0])
def test_one_answer_gives_the_time_to_half_a_second_and_half_the_way(
    host_clock: list[float], took_s: float
) -> None:
    found = ServiceClock()

    found.learn(date_at(1_000.0 + took_s / 3), 1_000.0, 1_000.0 + took_s)

    assert abs(found.unix_s() - (1_000.0 + TRUE_OFFSET_S)) <= 0.5 + took_s / 2


def test_many_answers_narrow_it_down(host_clock: list[float]) -> None:
    found = ServiceClock()

    for n in range(50):
        at_s = 1_000.0 + n * 7.37
        found.learn(date_at(at_s + 0.02), at_s, at_s + 0.04)
    host_clock[0] = 2_000.0

    assert found.unix_s() == pytest.approx(2_000.0 + TRUE_OFFSET_S, abs=0.1)


def test_clock_that_drifted_or_was_set_is_measured_anew(host_clock: list[float]) -> None:
    """Bounds that exclude each other say that the old ones are out of date."""
    found = ServiceClock()
    found.learn(date_at(1_000.0), 1_000.0, 1_000.01)

    found.learn(date_at(1_090.0), 1_000.0, 1_000.01)  # the service is 90 s further on

    assert found.unix_s() == pytest.approx(1_090.0 + TRUE_OFFSET_S, abs=0.6)


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Nov 2026 25:00:00 GMT", "None"])
def test_what_is_no_date_changes_nothing(host_clock: list[float], date: str) -> None:
    found = ServiceClock()

    found.learn(date, 1_000.0, 1_000.1)

    assert found.unix_s() == 5.0


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.parametrize("name", ["moto", "ministack"])
def test_records_measure_the_tables_clock_by_every_answer(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A wall clock five minutes off; reads, updates and refused updates all carry the Date."""
    server: AwsServer = request.getfixturevalue(name)
    made, key = deploy(server), RecordKey("u", "r")
    change = Change(Missing("remToken"), {"remToken": RecordHold("t", "o").token})
    truth = clock.wall_unix_s
    for ask in (
        lambda records: records.get(key),
        lambda records: records.update(key, change),  # made
        lambda records: records.update(key, change),  # refused
    ):
        records = DynamoRecords(server.client("dynamodb"), made.table)
        with mock.patch.object(clock, "wall_unix_s", return_value=truth() + 300.0):
            ask(records)

            assert abs(records.unix_s() - truth()) < 2.0
