"""The doctor on notices: would this machine hear that it is taken away?"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from supervisor.cli.doctor.notice_checks import of_notices
from supervisor.contract.finding import Finding
from supervisor.notices.notice import PATHS, Kind
from supervisor.settings.load import Loaded
from supervisor.settings.schema import NoticesSettings, Settings
from tests.support.faulty_imds import FaultyImds, ImdsFault


@pytest.fixture
def fake() -> Iterator[FaultyImds]:
    with FaultyImds() as service:
        yield service


def finding(endpoint: str, **settings: str) -> Finding:
    loaded = Loaded(Settings(notices=NoticesSettings(**settings)), {}, {})  # type: ignore[arg-type]
    return of_notices(loaded, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint} if endpoint else {})


def test_a_service_that_answers_is_well(fake: FaultyImds) -> None:
    assert finding(fake.endpoint) == Finding(
        "notices", "ok", "the metadata service responds; no notice is active"
    )


def test_where_nobody_is_asked_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.notices.imds.is_ec2", lambda: False)  # the tests' own host may be one

    elsewhere, switched_off, misspelt = finding(""), finding("", enabled="off"), finding("ftp://x")

    assert (elsewhere.state, elsewhere.detail) == ("ok", "not monitored: this is not an EC2 instance")
    assert (switched_off.state, switched_off.detail) == ("ok", "not monitored: [notices] enabled = off")
    assert misspelt.state == "warn"
    assert "http://HOST:PORT" in misspelt.detail


def test_a_hop_limit_is_found_before_the_service_runs(fake: FaultyImds) -> None:
    fake.fault = ImdsFault.HOP_LIMIT

    found = finding(fake.endpoint)

    assert found.state == "warn"
    assert "--http-put-response-hop-limit 2" in found.detail


def test_nobody_there_and_garbage_are_warnings(fake: FaultyImds) -> None:
    fake.told[PATHS[Kind.SPOT]] = "<html>"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        absent = finding(f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert absent.state == finding(fake.endpoint).state == "warn"


def test_a_doomed_machine_is_named(fake: FaultyImds) -> None:
    fake.tell(Kind.ASG)
    fake.tell(Kind.REBALANCE)

    found, ignoring = finding(fake.endpoint), finding(fake.endpoint, rebalance="ignore")

    assert found.state == ignoring.state == "warn"
    assert "Auto Scaling terminates this instance" in found.detail
    assert "rebalance recommendation" in found.detail
    assert "rebalance" not in ignoring.detail
