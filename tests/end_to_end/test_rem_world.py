"""The service in REM's own world: its environment file, its table, and what it says of a wrong one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.exits import Exit
from tests.broker.aws_servers import AwsServer, Deployment, make_table
from tests.end_to_end.running_service import REPOSITORY, SAMPLES, running, wait_for
from tests.end_to_end.senders import USER, AwsSender, finished

pytestmark = [pytest.mark.slow, pytest.mark.aws]
WORLD = REPOSITORY.parent / "shared" / "rem" / "world.py"
# Every name of REM's environment file but the addresses.
REMS_FILE = """
# REM's settings
AWS_REGION={region}
AWS_ACCESS_KEY_ID=test
AWS_SECRET_ACCESS_KEY=test
SQS_QUEUE_URL={queue}
RAW_AUDIO_BUCKET={raw}
TRANSCRIPTS_BUCKET={texts}
DYNAMODB_TABLE={table}
SPEAKERS_TABLE=rem-speakers-dev
HUGGINGFACE_TOKEN=hf_none
ENABLE_DIARIZATION=true
OPENAI_API_KEY=none
REM_USER_ID=default-user
WHISPER_MODEL=tiny.en
WHISPER_DEVICE={device}
WHISPER_COMPUTE_TYPE={compute}
POLL_INTERVAL=5
MAX_MESSAGES=1
VISIBILITY_TIMEOUT=900
LOG_LEVEL=INFO
"""


def write_rems_file(made: Deployment, folder: Path, device: str, compute: str) -> dict[str, str]:
    """Leave REM's file where the service looks for it; gives what only an emulator needs beside it."""
    text = REMS_FILE.format(
        region=made.server.environ["AWS_REGION"], queue=made.queue_url, raw=made.raw_bucket,
        texts=made.transcripts_bucket, table=made.table, device=device, compute=compute,
    )  # fmt: skip
    (folder / ".env").write_text(text, encoding="utf-8")
    return {"AWS_ENDPOINT_URL": made.server.url}


@pytest.mark.parametrize("name", ["moto", "ministack"])
def test_rems_own_check_finds_its_contract_kept(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not WORLD.exists():
        pytest.skip(f"no {WORLD.name} beside this checkout")
    server: AwsServer = request.getfixturevalue(name)

    def world(*words: str) -> str:
        command = [sys.executable, str(WORLD), "--endpoint", server.url, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    environ = dict(line.split("=", 1) for line in world("make").splitlines())
    with running(tmp_path / "state", slots=1, **environ) as service:
        service.wait_ready()
        world("dispatch", str(SAMPLES / "harbour.wav"), "rec-1")
        said = world("check", "rec-1", "--wait", "90")

    assert said == "contract kept\n"


def test_record_that_was_missing_is_found_by_device_and_start(deployment: Deployment, tmp_path: Path) -> None:
    sender = AwsSender(deployment, with_record=False)

    with running(tmp_path / "state", slots=1, **sender.environ()) as service:
        service.wait_ready()
        job = sender.send(SAMPLES / "harbour.wav")
        record = wait_for(lambda: finished(sender, job), "a finished record")

    assert (record["PK"], record["SK"], record["recordingId"]) == (USER, job, job)
    assert record["deviceId"] == "dev-7"
    assert record["createdAt"]
    assert record["s3KeyRaw"].startswith("raw/dev-7/")
    assert sender.of_device("dev-7") == [record]


def test_rems_file_starts_the_service_and_its_unused_names_are_said_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    environ = write_rems_file(deployment, tmp_path, "cpu", "int8")
    sender = AwsSender(deployment)

    with running(tmp_path / "state", slots=1, **environ) as service:
        service.wait_ready()
        job = sender.send(SAMPLES / "harbour.wav")
        record = wait_for(lambda: finished(sender, job), "a finished record")

    assert record["status"] == "TRANSCRIBED"
    assert service.log.count("Speakers and summaries are another service's work.") == 1


def test_rems_file_with_cuda_on_a_host_without_a_gpu_starts_and_says_what_is_missing(
    deployment: Deployment, tmp_path: Path
) -> None:
    """REM's file says cuda and float16: no reason to crash, and none to take a message."""
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this host has a GPU")
    environ = write_rems_file(deployment, tmp_path, "cuda", "float16")
    sender = AwsSender(deployment)
    sender.send(SAMPLES / "harbour.wav")

    with running(tmp_path / "state", **environ) as service:
        problem = wait_for(lambda: _supervisor(service).get("devices_problem"), "a word on the GPU")
        told = service.command("status")
        assert service.process.poll() is None

    assert "GPU" in problem
    assert told.returncode == Exit.DEGRADED
    (waiting,) = sender.visible()
    assert waiting["Attributes"]["ApproximateReceiveCount"] == "1"  # ours, just now


def test_table_with_other_keys_is_shown_by_status_and_takes_no_message(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Every update was refused, and each recording was in REM's dead-letter queue after three deliveries."""
    old = f"{deployment.table}-old"
    make_table(deployment.server, old, ("userId", "recordingId"))
    sender = AwsSender(deployment)
    sender.send(SAMPLES / "harbour.wav")

    with running(tmp_path / "state", slots=1, **{**sender.environ(), "DYNAMODB_TABLE": old}) as service:
        service.wait_ready()
        wait_for(lambda: _supervisor(service).get("troubles"), "the trouble in the status")
        told = service.command("status")
        (broker,) = service.slots("broker")

    words = " ".join(told.stdout.split())
    assert told.returncode == Exit.DEGRADED
    assert f"table {old} has the keys userId and recordingId; rem-supervisor needs PK and SK" in words
    assert "Set DYNAMODB_TABLE to REM's table." in words
    assert (broker["state"], broker["restarts"]) == ("ready", 0)
    (waiting,) = sender.visible()
    assert waiting["Attributes"]["ApproximateReceiveCount"] == "1"  # ours, just now


def _supervisor(service: Any) -> dict[str, Any]:
    return dict((service.status() or {}).get("supervisor") or {})
