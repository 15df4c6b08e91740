"""Backends for tests with the whole service: an imitation of AWS over HTTP, started once a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.aws_servers import AwsServer, Deployment, deploy, run_server
from tests.processes.senders import AwsSender, LocalSender, Sender


@pytest.fixture(scope="session")
def moto() -> Iterator[AwsServer]:
    yield from run_server("moto")


@pytest.fixture
def deployment(moto: AwsServer) -> Deployment:
    return deploy(moto, max_receive_count=20)


@pytest.fixture(params=["local", "aws"])
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> Sender:
    """The same promises on both backends."""
    if request.param == "local":
        return LocalSender(tmp_path / "state" / "local")
    return AwsSender(request.getfixturevalue("deployment"))
