"""The backends that the suites run on: SQLite and folders, moto, ministack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.broker.aws_servers import AwsServer, Deployment, deploy
from tests.broker.harness import rem_message
from tests.broker.ports_of_all import ports as ports
from tests.broker.worlds import World, aws_world, local_world


@pytest.fixture
def deployment(moto: AwsServer) -> Deployment:
    return deploy(moto)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A file that stands for audio: the broker never looks inside."""
    path = tmp_path / "some.wav"
    path.write_bytes(b"RIFF" + bytes(9_996))
    return path


@pytest.fixture(params=["local", pytest.param("moto", marks=pytest.mark.aws)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "local":
        return local_world(tmp_path)
    return aws_world(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def job(world: World, audio: Path) -> dict[str, Any]:
    """One REM message on its way, its audio uploaded."""
    message = rem_message(bucket=world.raw_bucket)
    world.upload(message["key"], audio)
    world.send(message)
    return message
