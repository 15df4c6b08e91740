"""The written picture: fresh when something happens, seldom when nothing does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.service.state_dir import StateDir
from supervisor.service.status_file import IDLE_EVERY_S, NEWS_EVERY_S, StatusFile, rss_bytes


class Camera:
    """Counts the pictures that are taken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> dict[str, Any]:
        self.count += 1
        return {"version": self.count}


def test_news_are_written_soon_and_once(tmp_path: Path) -> None:
    camera = Camera()
    file = StatusFile(StateDir(str(tmp_path / "state")), camera)
    file.write(1000.0)

    file.note_news()
    file.write_if_due(1000.0 + NEWS_EVERY_S - 1)
    assert camera.count == 1
    file.write_if_due(1000.0 + NEWS_EVERY_S)
    file.write_if_due(1000.0 + 2 * NEWS_EVERY_S)

    assert camera.count == 2
    assert (tmp_path / "state" / "status.json").read_text() == '{"version": 2}'


def test_idle_service_writes_seldom_but_does(tmp_path: Path) -> None:
    camera = Camera()
    file = StatusFile(StateDir(str(tmp_path / "state")), camera)
    file.write(1000.0)

    for second in range(int(IDLE_EVERY_S)):
        file.write_if_due(1000.0 + second)
    assert camera.count == 1
    file.write_if_due(1000.0 + IDLE_EVERY_S)

    assert camera.count == 2


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_state_directory_that_is_lost_is_told_once_and_not_written_to(
    tmp_path: Path, replaced: bool
) -> None:
    path = tmp_path / "state"
    told: list[str] = []
    file = StatusFile(StateDir(str(path)), Camera(), lambda: told.append("lost"))
    path.rename(tmp_path / "elsewhere")
    successor = StateDir(str(path)) if replaced else None

    for second in range(100):
        file.look_if_due(1000.0 + second)
        file.write_if_due(1000.0 + second)
    file.write(2000.0)

    assert told == ["lost"]
    assert not (path / "status.json").exists()
    assert successor is None or not successor.is_lost()


def test_resident_memory_is_known_of_the_living_only() -> None:
    found = rss_bytes((os.getpid(), 2**30))

    assert list(found) == [os.getpid()]
    assert 1_000_000 < found[os.getpid()] < 2**40
