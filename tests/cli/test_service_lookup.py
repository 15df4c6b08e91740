"""A root shell finds the service that systemd runs, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.cli.client.service_lookup import names_to_add


@pytest.fixture
def service(tmp_path: Path) -> str:
    folder = tmp_path / "var" / "rem-supervisor"
    folder.mkdir(parents=True)
    return str(folder)


@pytest.mark.parametrize("verb", ["status", "submit", "drain", "jobs", "doctor"])
def test_a_caller_without_a_state_directory_is_led_to_the_service(
    verb: str, service: str, tmp_path: Path
) -> None:
    assert names_to_add(verb, {"HOME": str(tmp_path)}, service) == {"STATE_DIRECTORY": service}


@pytest.mark.parametrize("verb", ["run", "demo"])
def test_a_service_started_by_hand_does_not_take_that_folder_over(
    verb: str, service: str, tmp_path: Path
) -> None:
    assert names_to_add(verb, {"HOME": str(tmp_path)}, service) == {}


@pytest.mark.parametrize("name", ["REM_STATE_DIR", "STATE_DIRECTORY"])
def test_a_directory_that_is_named_is_kept(name: str, service: str, tmp_path: Path) -> None:
    assert names_to_add("status", {"HOME": str(tmp_path), name: "/mine"}, service) == {}


def test_a_caller_with_a_state_directory_at_home_stays_there(service: str, tmp_path: Path) -> None:
    (tmp_path / ".local/state/rem-supervisor").mkdir(parents=True)
    (tmp_path / "xdg/rem-supervisor").mkdir(parents=True)

    assert names_to_add("status", {"HOME": str(tmp_path)}, service) == {}
    assert names_to_add("status", {"XDG_STATE_HOME": str(tmp_path / "xdg")}, service) == {}


def test_where_no_service_is_installed_nothing_changes(tmp_path: Path) -> None:
    assert names_to_add("status", {"HOME": str(tmp_path)}, str(tmp_path / "absent")) == {}


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_who_may_not_enter_the_services_folder_is_led_there_to_be_told_so(
    service: str, tmp_path: Path
) -> None:
    Path(service).chmod(0o000)

    assert names_to_add("status", {"HOME": str(tmp_path)}, service) == {"STATE_DIRECTORY": service}
