"""What a command needs of the settings, and what it tells of their mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli.main import main

Answering = Callable[[dict[str, Any]], list[dict[str, Any]]]
Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("order", [["status"], ["drain"], ["release", "cpu0"]], ids=" ".join)
def test_a_running_service_is_shown_and_told_although_its_settings_have_mistakes_by_now(
    order: list[str], answering: Answering, status_of: Make
) -> None:
    Path("config.toml").write_text("[queue]\nlese_s = 6\n", encoding="utf-8")
    answering({"ok": True, "status": status_of()})

    assert main(order) == 0
    assert main(["reload"]) == 78


def test_the_state_directory_named_in_the_config_file_is_the_one_that_is_asked(
    state_dir: Path, answering: Answering, status_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REM_STATE_DIR")
    Path("other.toml").write_text(f"state_dir = '{state_dir}'\n", encoding="utf-8")
    answering({"ok": True, "status": status_of()})

    assert main(["status", "--config", "other.toml"]) == 0


@pytest.mark.parametrize("wrong", ["state_dir = 5\n", "state_dir = \n"], ids=["number", "nothing"])
def test_a_state_directory_that_is_none_is_a_settings_mistake(
    wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REM_STATE_DIR")
    Path("config.toml").write_text(wrong, encoding="utf-8")

    assert main(["status"]) == 78
    assert "config.toml" in capsys.readouterr().err


def test_status_imports_nothing_that_it_does_not_need() -> None:
    looks = "import sys; import supervisor.cli.control; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", looks], env=environ, capture_output=True, text=True, check=True
    )

    slow = {"asyncio", "dataclasses", "inspect", "logging", "hashlib", "subprocess", "boto3", "psutil"}
    assert slow & set(told.stdout.split()) == set()
