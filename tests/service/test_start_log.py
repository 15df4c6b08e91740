"""What a service says of itself as it starts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from supervisor.service.run import log_start
from supervisor.settings.load import Loaded, known_keys, load_settings


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("[queue]\nlease_s = 90\n", encoding="utf-8")
    return load_settings(None, {}, {"WHISPER_MODEL": "small", "REM_STATE_DIR": str(tmp_path / "state")})


def test_one_line_says_what_was_started(loaded: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    log_start(loaded, "/run/control.sock")

    line = vars(next(one for one in caplog.records if one.getMessage() == "service started"))
    assert (line["backend"], line["profile"], line["model"], line["device"]) == (
        "local", "fast", "small", "auto",
    )  # fmt: skip
    assert line["version"]
    assert line["state_dir"] == loaded.settings.state_dir
    assert [one for one in caplog.records if one.getMessage() == "setting"] == []


def test_at_debug_each_setting_says_where_it_came_from(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    log_start(loaded, "/run/control.sock")

    told = {vars(one)["key"]: vars(one) for one in caplog.records if one.getMessage() == "setting"}
    assert set(told) == set(known_keys())
    assert (told["queue.lease_s"]["value"], told["queue.lease_s"]["from"]) == (90, "config.toml")
    assert (told["transcription.model"]["value"], told["transcription.model"]["from"]) == (
        "small", "environment",
    )  # fmt: skip
    assert told["queue.read_ahead"]["from"] == "default"
