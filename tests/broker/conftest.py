"""The backends that the suites run on: SQLite and folders, moto, ministack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.aws_servers import AwsServer, Deployment, deploy, run_server


@pytest.fixture(scope="session")
def moto() -> Iterator[AwsServer]:
    yield from run_server("moto")


@pytest.fixture(scope="session")
def ministack() -> Iterator[AwsServer]:
    if sys.version_info < (3, 10):
        pytest.skip("ministack needs Python 3.10 or newer")
    yield from run_server("ministack")


@pytest.fixture
def deployment(moto: AwsServer) -> Deployment:
    return deploy(moto)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A file that stands for audio: the broker never looks inside."""
    path = tmp_path / "some.wav"
    path.write_bytes(b"RIFF" + bytes(9_996))
    return path
