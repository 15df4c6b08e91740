"""`jobs` and `redrive` as typed: the real child, the real list of failed jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.broker.backends.failed_jobs import FailedJob, FailedJobs
from supervisor.cli.jobs import queue_line
from supervisor.cli.main import main

pytestmark = pytest.mark.slow
ODD = "\u202egpj.exe\u2028\u200b\ufeff"


def failed(state_dir: Path, *ids: str) -> FailedJobs:
    """Write failed jobs down as a broker does."""
    kept = FailedJobs(state_dir)
    for name in ids:
        kept.keep(FailedJob(name, "user", f"message of {name}", f"bad {ODD}", "rejected", 1, "{}"))
    return kept


def test_an_id_that_looks_like_an_option_is_redriven_alone(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`redrive -- --all` put every failed job back, though `--all` was an id."""
    kept = failed(state_dir, "one", "two")

    code = main(["redrive", "--", "--all"])

    assert code == 1
    assert "--all" in capsys.readouterr().out
    assert {job.id for job in kept.newest_first()} == {"one", "two"}


def test_a_recording_whose_name_begins_with_a_dash_is_submitted(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("--wait.wav").write_bytes(b"RIFF" + b"\0" * 100)

    assert main(["submit", "--", "--wait.wav"]) == 0

    assert capsys.readouterr().out.endswith("  --wait.wav\n")


def test_unseen_characters_reach_neither_table_nor_json_raw(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(state_dir, f"rec{ODD}")

    main(["jobs", "--failed"])
    table = capsys.readouterr().out
    main(["jobs", "--failed", "--json"])
    line = capsys.readouterr().out

    assert all(shown.isprintable() for shown in table.splitlines())
    assert line.strip().isprintable()
    assert json.loads(line)["id"] == f"rec{ODD}"


def test_jobs_says_what_waits_in_sqs_beside_what_is_listed() -> None:
    queue = {"event": "queue", "waiting": 3, "in_flight": 1}

    assert queue_line(queue, 2).endswith("In SQS: 3 waiting, 1 in flight on all hosts.")
    assert queue_line(queue, 0).startswith("No job is held or failed on this host.")


def test_jobs_without_credentials_lists_what_it_knows_and_fails(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "no jobs" and exited with 0."""
    environ = {
        "SQS_QUEUE_URL": "http://127.0.0.1:9/1/q", "RAW_AUDIO_BUCKET": "raw", "TRANSCRIPTS_BUCKET": "texts",
        "DYNAMODB_TABLE": "table", "AWS_PROFILE": "nobody", "REM_BACKEND": "aws",
    }  # fmt: skip
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    failed(state_dir, "one")

    code = main(["jobs"])

    shown = capsys.readouterr()
    assert code == 78
    assert "one" in shown.out
    assert "the queue can't be read: AWS_PROFILE names the profile 'nobody'" in shown.err
