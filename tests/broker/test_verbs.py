"""submit, jobs, redrive and check as the command line runs them: short-lived processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.local_queue import open_database
from supervisor.contract import child_bootstrap
from supervisor.contract.wire.messages import Done, Fail, Failure
from supervisor.settings.schema import Settings
from tests.broker.aws_servers import Deployment
from tests.broker.harness import ROOT, BrokerProcess, local_settings

pytestmark = pytest.mark.slow


def run(
    settings: Settings,
    verb: str,
    environ: Any = None,
    **request: Any,
) -> tuple[int, list[dict[str, Any]], str]:
    """Run one verb; gives its exit code, its JSON lines and its stderr."""
    with start(settings, verb, environ, **request) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def start(settings: Settings, verb: str, environ: Any = None, **request: Any) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.broker", verb],
            cwd=ROOT,
            env={
                **clean,
                **(environ or {}),
                child_bootstrap.SETTINGS: child_bootstrap.dump_settings(settings),
            },
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_submit_refuses_what_cannot_be_audio_and_sends_the_rest(tmp_path: Path, audio: Path) -> None:
    (tmp_path / "empty.wav").touch()

    code, lines, _ = run(
        local_settings(tmp_path),
        "submit",
        files=[str(tmp_path / "none.wav"), str(audio), str(tmp_path), str(tmp_path / "empty.wav")],
    )

    assert code == 1
    assert [line["event"] for line in lines] == ["refused", "queued", "refused", "refused"]
    assert "No such file" in lines[0]["reason"]
    assert "is a folder" in lines[2]["reason"]
    assert "is empty" in lines[3]["reason"]


def test_submit_and_wait_brings_json_and_text(tmp_path: Path, audio: Path) -> None:
    settings, into = local_settings(tmp_path), tmp_path / "into"
    into.mkdir()

    with (
        BrokerProcess(settings) as broker,
        start(settings, "submit", files=[str(audio)], wait=True, into=str(into), language="de") as process,
    ):
        card = broker.take_one()
        broker.finish(card, "Guten Tag.")
        out, _ = process.communicate(timeout=60)

    queued, done = (json.loads(line) for line in out.splitlines())
    assert process.returncode == 0
    assert (card.language, card.device_id, card.job_id) == ("de", "submit", queued["id"])
    assert card.job_id.startswith("some-")
    assert (done["event"], done["id"], done["file"]) == ("done", queued["id"], str(audio))
    assert Path(done["text_path"]).read_text() == "Guten Tag."
    assert json.loads(Path(done["json_path"]).read_text())["fullText"] == "Guten Tag."
    assert done["json_key"] == f"transcripts/default-user/submit/{card.job_id}.json"
    assert Path(done["json_path"]).parent == into


def test_submit_and_wait_tells_why_a_file_failed(tmp_path: Path, audio: Path) -> None:
    settings = local_settings(tmp_path)

    with (
        BrokerProcess(settings) as broker,
        start(settings, "submit", files=[str(audio)], wait=True) as process,
    ):
        broker.say(Fail(broker.take_one().job_id, Failure.REJECTED, "This is not audio"))
        out, _ = process.communicate(timeout=60)

    failed = json.loads(out.splitlines()[-1])
    assert process.returncode == 1
    assert (failed["event"], failed["reason"]) == ("failed", "This is not audio.")


def test_failed_job_is_listed_and_tried_again_on_demand(tmp_path: Path, audio: Path) -> None:
    settings = local_settings(tmp_path)
    _, (queued), _ = run(settings, "submit", files=[str(audio)])
    job_id = queued[0]["id"]

    assert run(settings, "jobs")[1][0]["state"] == "waiting"
    with BrokerProcess(settings) as broker:
        broker.say(Fail(broker.take_one().job_id, Failure.REJECTED, "This is not audio"))
        broker.hear(Done)
        (failed,) = run(settings, "jobs", failed=True)[1]
        assert (failed["id"], failed["state"], failed["reason"]) == (job_id, "failed", "This is not audio.")
        assert run(settings, "redrive", ids=[job_id])[1] == [{"event": "queued", "id": job_id}]
        broker.finish(broker.take_one())

    assert run(settings, "jobs")[1] == []
    assert open_database(Path(settings.local.folder)).rows("SELECT * FROM dead_letters") == []


def test_redrive_of_an_unknown_job_says_so(tmp_path: Path) -> None:
    code, (refused), _ = run(local_settings(tmp_path), "redrive", ids=["nobody"])

    assert code == 1
    assert refused[0]["event"] == "refused"
    assert "`jobs --failed` lists them" in refused[0]["reason"]


def test_an_id_that_looks_like_an_option_is_an_id(tmp_path: Path, audio: Path) -> None:
    """`redrive -- --all` put every failed job back: the ids were read as a command line once more."""
    settings = local_settings(tmp_path)
    _, (queued,), _ = run(settings, "submit", files=[str(audio)])
    with BrokerProcess(settings) as broker:
        broker.say(Fail(broker.take_one().job_id, Failure.REJECTED, "This is not audio"))
        broker.hear(Done)

    code, lines, _ = run(settings, "redrive", ids=["--all", "-x"])

    assert (code, [(line["event"], line["id"]) for line in lines]) == (
        1,
        [("refused", "--all"), ("refused", "-x")],
    )
    assert [line["id"] for line in run(settings, "jobs", failed=True)[1]] == [queued["id"]]


def test_check_finds_a_sound_embedded_backend_sound(tmp_path: Path) -> None:
    code, lines, _ = run(local_settings(tmp_path), "check")

    assert code == 0
    assert {line["check"]: line["state"] for line in lines} == {
        "spool": "ok",
        "queue": "ok",
        "table": "ok",
        "audio": "ok",
        "transcripts": "ok",
    }


@pytest.mark.aws
def test_submit_and_redrive_on_aws(deployment: Deployment, tmp_path: Path, audio: Path) -> None:
    settings, environ = deployment.settings(tmp_path), deployment.server.environ
    code, (queued,), _ = run(settings, "submit", environ, files=[str(audio)])

    with BrokerProcess(settings, environ) as broker:
        broker.say(Fail(broker.take_one().job_id, Failure.REJECTED, "Not today"))
        broker.hear(Done)
        assert run(settings, "redrive", environ, all=True)[1] == [{"event": "queued", "id": queued["id"]}]
        card = broker.take_one()
        broker.finish(card)

    assert code == 0
    assert (card.job_id, card.attempt) == (queued["id"], 2)


@pytest.mark.aws
def test_submit_names_the_setting_of_the_bucket_that_is_not_there(
    deployment: Deployment, tmp_path: Path, audio: Path
) -> None:
    """It told to correct TRANSCRIPTS_BUCKET, whichever bucket it was that could not be written to."""
    settings, environ = deployment.settings(tmp_path), deployment.server.environ
    wrong = dataclasses.replace(settings, aws=dataclasses.replace(settings.aws, raw_bucket="no-such-bucket"))

    code, lines, said = run(wrong, "submit", environ, files=[str(audio)])

    told = f"{lines}{said}"
    assert code == 78
    assert "Correct RAW_AUDIO_BUCKET" in told
    assert "TRANSCRIPTS_BUCKET" not in told


@pytest.mark.aws
def test_check_names_what_is_missing_on_aws_and_the_cure(deployment: Deployment, tmp_path: Path) -> None:
    settings, environ = deployment.settings(tmp_path), deployment.server.environ

    _, sound, _ = run(settings, "check", environ=environ)
    wrong = dataclasses.replace(
        settings, aws=dataclasses.replace(settings.aws, table="no-such-table", raw_bucket="no-such-bucket")
    )
    code, broken, _ = run(wrong, "check", environ=environ)

    states = {line["check"]: line["state"] for line in sound}
    assert states.pop("redrive") == "warn"  # REM's maxReceiveCount is 3
    assert set(states.values()) == {"ok"}
    failed = {line["check"]: line["cure"] for line in broken if line["state"] == "fail"}
    assert code == 1
    assert set(failed) == {"table", "audio"}
    assert "DYNAMODB_TABLE" in failed["table"]
    assert "RAW_AUDIO_BUCKET" in failed["audio"]
