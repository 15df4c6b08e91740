"""The whole service with real workers, as a person uses it, on the embedded backend."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running_service import (
    LIMIT_S,
    REPOSITORY,
    SAMPLES,
    Service,
    clean_environment,
    direct_text,
    is_alive,
    running,
    wait_for,
)
from tests.end_to_end.senders import LocalSender, finished, in_measured_work, transcript_of
from tests.end_to_end.service_with_test_workers import NULL

pytestmark = [pytest.mark.slow, pytest.mark.oldest]
HUMAN = REPOSITORY.parent / "shared" / "audio"
SECRETS = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-value", "HF_TOKEN": "t0ken-value", "REM_BACKEND": "local"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker, left alone by the tests that use it; its environment holds secrets."""
    folder = tmp_path_factory.mktemp("service")
    config = folder / "config.toml"
    config.write_text("[devices]\ncpu_slots = 1\n", encoding="utf-8")
    with running(folder / "state", **SECRETS) as service:
        service.wait_ready()
        yield service


def test_submitted_file_comes_back_as_text_equal_to_a_direct_call(service: Service) -> None:
    done = service.command("submit", str(SAMPLES / "harbour.wav"), "--wait", "--format", "txt")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == direct_text(SAMPLES / "harbour.wav")


@pytest.mark.parametrize("name", ["jfk.flac", "198-209-0000.ogg", "3436-172162-0000.ogg"])
def test_human_speech_with_full_windows_equals_a_direct_call(service: Service, name: str) -> None:
    clip = HUMAN / name
    if not clip.exists():
        pytest.skip(f"no human speech here: {clip} is absent")

    words = ("submit", str(clip), "--wait", "--format", "txt", "--option", "window=full")
    done = service.command(*words)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == direct_text(clip)


def test_json_and_subtitles_are_written_where_asked(service: Service, tmp_path: Path) -> None:
    for form in ("json", "srt", "vtt"):
        words = (
            "submit",
            str(SAMPLES / "harbour.wav"),
            "--wait",
            "--format",
            form,
            "--output",
            str(tmp_path),
        )
        done = service.command(*words)
        assert done.returncode == 0, done.stderr

    transcript = json.loads((tmp_path / "harbour.json").read_text(encoding="utf-8"))
    assert transcript["fullText"]
    assert transcript["segments"][0]["id"] == 1
    assert "-->" in (tmp_path / "harbour.srt").read_text(encoding="utf-8")
    assert (tmp_path / "harbour.vtt").read_text(encoding="utf-8").startswith("WEBVTT")


def test_bad_files_are_failed_with_a_reason_and_kept_while_the_service_goes_on(
    service: Service, tmp_path: Path
) -> None:
    empty, words = tmp_path / "empty.wav", tmp_path / "notes.mp3"
    empty.write_bytes(b"")
    words.write_text("this is not audio at all, only a few words\n" * 20, encoding="utf-8")
    cut = tmp_path / "cut.ogg"
    cut.write_bytes((SAMPLES / "lighthouse.ogg").read_bytes()[:20])

    done = service.command(
        "submit", str(empty), str(words), str(cut), str(tmp_path / "missing.wav"), "--wait"
    )
    kept = service.command("jobs", "--failed")
    after = service.command("submit", str(SAMPLES / "harbour.wav"), "--wait")

    assert done.returncode == 1
    for name in ("empty.wav", "notes.mp3", "cut.ogg", "missing.wav"):
        assert name in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert all(stem in kept.stdout for stem in ("notes", "cut")), kept.stdout
    assert after.returncode == 0
    status = service.status()
    assert status is not None
    assert sum(slot["restarts"] for slot in status["slots"]) == 0


def test_recording_that_is_not_there_counts_as_failed_in_status(service: Service) -> None:
    sender = LocalSender(service.state_dir / "local")
    failed = (service.status() or {})["totals"]["failed"]
    body = {"recordingId": "gone", "bucket": "raw", "key": "raw/dev/gone.wav", "userId": "u", "deviceId": "d"}

    sender.send_body(json.dumps({**body, "startedAt": "1", "endedAt": "2"}))

    wait_for(lambda: (service.status() or {})["totals"]["failed"] == failed + 1, "a failed job in the totals")


def test_message_that_makes_no_sense_is_kept_for_a_person(service: Service) -> None:
    sender = LocalSender(service.state_dir / "local")
    sender.send_body("this is no JSON")
    sender.send_body('{"recordingId": "lacks-the-rest"}')

    wait_for(lambda: sender.left() == 0, "an empty queue")
    kept = service.command("jobs", "--failed", "--json")

    assert "JSON" in kept.stdout
    assert "lacks-the-rest" in kept.stdout


def test_second_supervisor_is_refused_and_names_the_first(service: Service) -> None:
    second = service.command("run")

    assert second.returncode == 1
    assert str(service.process.pid) in second.stderr
    assert str(service.state_dir) in second.stderr


def test_status_shows_every_slot_in_text_and_json(service: Service) -> None:
    text = service.command("status")
    plain = service.command("status", "--json")

    assert text.returncode == 0, text.stderr
    assert "cpu0" in text.stdout
    assert "broker" in text.stdout
    status = json.loads(plain.stdout)
    assert status["version"] == 1
    assert {slot["kind"] for slot in status["slots"]} == {"worker", "broker", "gpuwatch"}


def test_worker_has_no_credentials_and_no_network_library(service: Service) -> None:
    pid = service.pid_of("cpu0")
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    loaded = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")

    assert b"s3cr3t-value" not in environment
    assert b"t0ken-value" not in environment
    assert b"HF_HUB_OFFLINE=1" in environment
    assert "botocore" not in loaded
    assert "s3cr3t-value" not in service.log


def test_stop_in_the_middle_finishes_the_recording_and_exits_0(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "state" / "local")
    with running(tmp_path / "state", slots=1) as service:
        job = in_measured_work(service, sender)

        code = service.stop()

    assert code == 0
    assert finished(sender, job) is not None
    assert sender.left() == 0


def test_second_stop_gives_back_at_once_and_a_successor_finishes(tmp_path: Path) -> None:
    """The first one, a terminal's, would finish the recording."""
    sender = LocalSender(tmp_path / "state" / "local")
    with running(tmp_path / "state", slots=1) as service:
        job = in_measured_work(service, sender)
        service.process.send_signal(signal.SIGINT)
        wait_for(lambda: "stopping" in service.log, "the first signal to be heard")

        code = service.stop(signal.SIGTERM)

        assert code == 0
        assert sender.left() == 1
        service.start_again()
        record = wait_for(lambda: finished(sender, job), "the successor's transcript")

    assert record["remAttempt"] == 2
    assert transcript_of(sender, record)["fullText"]


def test_drain_and_resume_stop_and_start_the_work(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "state" / "local")
    with running(tmp_path / "state", NULL, slots=1) as service:
        service.wait_ready()
        drained = service.command("drain")
        wait_for(lambda: (service.status() or {})["supervisor"]["state"] == "drained", "drained")
        job = sender.send(SAMPLES / "harbour.wav")
        untouched = sender.left()
        resumed = service.command("resume")
        wait_for(lambda: finished(sender, job), "a transcript after resume")

    assert drained.returncode == 0
    assert resumed.returncode == 0
    assert untouched == 1


def test_wrong_settings_start_nothing_and_name_every_mistake(tmp_path: Path) -> None:
    wrong = {"SQS_QUEUE_URL": "http://127.0.0.1:1/q", "WHISPER_DEVICE": "gpu", "MAX_MESSAGES": "many"}
    service = Service(tmp_path / "state", clean_environment(tmp_path / "state", **wrong))

    code = service.process.wait(LIMIT_S)

    assert code == 78
    for name in (
        "RAW_AUDIO_BUCKET",
        "TRANSCRIPTS_BUCKET",
        "DYNAMODB_TABLE",
        "WHISPER_DEVICE",
        "MAX_MESSAGES",
    ):
        assert name in service.log
    assert not (tmp_path / "state").exists()


def test_workers_die_with_their_supervisor_and_nothing_is_left(tmp_path: Path) -> None:
    with running(tmp_path / "state", slots=1) as service:
        service.wait_ready(1)
        pids = service.pids()

        service.process.kill()
        service.process.wait()

        wait_for(lambda: not [pid for pid in pids if is_alive(pid)], "the end of all children")
