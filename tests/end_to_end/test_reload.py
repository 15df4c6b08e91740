"""New settings while the service runs: one slot after the other, and no further than the first failure."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.driven_child import wait_state
from tests.end_to_end.running_service import SAMPLES, Service, running, wait_for
from tests.end_to_end.senders import LocalSender, finished, transcript_of
from tests.end_to_end.service_with_test_workers import NULL
from workerproc.process import models

pytestmark = pytest.mark.slow


def settings_of(service: Service, text: str) -> None:
    (service.state_dir.parent / "config.toml").write_text(text, encoding="utf-8")


def pids(service: Service) -> dict[str, int]:
    """Give the pids of the ready workers."""
    slots = wait_for(service.slots, "a status")
    return {slot["name"]: slot["pid"] for slot in slots if slot["state"] == "ready"}


def test_reload_rolls_one_worker_after_the_other(tmp_path: Path) -> None:
    with running(tmp_path / "s", NULL) as service:
        service.wait_ready(2)
        before = pids(service)
        fewest = len(before)
        settings_of(service, "[transcription]\nbeam_size = 1\n")

        told = service.command("reload")

        def rolled() -> bool:
            nonlocal fewest
            now = pids(service)
            fewest = min(fewest, len(now))
            return len(now) == 2 and not set(now.values()) & set(before.values())

        wait_for(rolled, "two new workers")

    assert told.returncode == 0
    assert "one after the other" in told.stdout
    assert fewest >= 1, "both workers were away at the same time"


def test_wrong_settings_are_refused_and_the_old_ones_stay(tmp_path: Path) -> None:
    with running(tmp_path / "s", NULL) as service:
        service.wait_ready(1)
        before = pids(service)
        settings_of(service, "[transcription]\nbeam_size = 0\nbeem = 3\n")

        told = service.command("reload")
        os.kill(service.process.pid, signal.SIGHUP)
        wait_for(lambda: "the previous ones stay in effect" in service.log, "the log to tell of the mistakes")

        assert pids(service).items() >= before.items()
    assert told.returncode != 0
    assert "beam_size" in told.stderr + told.stdout


def test_what_cannot_change_while_running_is_said(tmp_path: Path) -> None:
    with running(tmp_path / "s", NULL) as service:
        service.wait_ready(1)
        settings_of(service, "[spool]\nmax_audio_s = 60.0\n")

        told = service.command("reload")

    assert "spool.max_audio_s" in told.stdout


def test_another_model_is_taken_up_and_one_that_is_none_stops_the_roll(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "s" / "local")
    packaged = models.packaged("tiny.en")
    assert packaged is not None
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.symlink_to(packaged)
    bad.mkdir()
    for path in packaged.iterdir():
        (bad / path.name).symlink_to(path)
    (bad / "model.bin").unlink()
    (bad / "model.bin").write_bytes(b"no weights at all")
    (tmp_path / "config.toml").write_text("[transcription]\nmodel = 'tiny.en'\n[devices]\ncpu_slots = 2\n")
    with running(tmp_path / "s", WHISPER_MODEL="") as service:
        service.wait_ready(2)

        settings_of(service, f"[transcription]\nmodel = '{good}'\n[devices]\ncpu_slots = 2\n")
        before = pids(service)
        service.command("reload")
        wait_for(
            lambda: len(pids(service)) == 2 and not set(pids(service).values()) & set(before.values()),
            "two workers with the new model",
        )
        job = sender.send(SAMPLES / "harbour.wav")
        record = wait_for(lambda: finished(sender, job), "a transcript by the new model")
        named = transcript_of(sender, record)["whisperModel"]

        settings_of(service, f"[transcription]\nmodel = '{bad}'\n[devices]\ncpu_slots = 2\n")
        service.command("reload")
        wait_for(lambda: "reload stopped at the first slot that failed" in service.log, "the roll to stop")
        left = pids(service)

    assert named == str(good)
    assert len(left) == 1, "the second worker goes on with the model that works"


def test_settings_that_the_models_tokens_forbid_hold_the_slots_and_begin_again_once_corrected(
    tmp_path: Path,
) -> None:
    """Only the model's tokenizer knows how many tokens hotwords have: 700 letters may be 400 of them."""
    hotwords = "Kowalczyk, Nguyễn, " * 40
    text = '[transcription]\nhotwords = "{}"\n[devices]\ncpu_slots = 2\n'
    (tmp_path / "config.toml").write_text(text.format(hotwords), encoding="utf-8")
    with running(tmp_path / "s") as service:
        held = [wait_state(service, name, "held") for name in ("cpu0", "cpu1")]

        settings_of(service, text.format("Kowalczyk"))
        service.command("reload")

        service.wait_ready(2)

    assert all("settings wrong" in slot["reason"] and "hotwords: " in slot["reason"] for slot in held)
    assert all(slot["restarts"] == 0 for slot in held)


def test_misspelt_model_is_refused_by_reload_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[transcription]\nmodel = 'tiny.en'\n", encoding="utf-8")
    with running(tmp_path / "s", NULL, WHISPER_MODEL="") as service:
        service.wait_ready(1)
        settings_of(service, "[transcription]\nmodel = 'tiny.em'\n")

        told = service.command("reload")

    assert told.returncode != 0
    assert "Did you mean tiny.en?" in told.stderr
