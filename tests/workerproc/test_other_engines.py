"""Whole workers with the engines that are not the default, where they are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract import codec
from supervisor.contract.engine import engines
from supervisor.contract.exits import Exit
from supervisor.contract.job_options import of_profile
from supervisor.contract.wire.messages import Failed, Failure, Staged
from tests.workerproc import recordings
from tests.workerproc.model_files import model_file
from tests.workerproc.process import REPOSITORY, card, worker_in
from tests.workerproc.test_checkpoint_files import document, put_down

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
OTHERS = [name for name in engines.NAMES if name != engines.DEFAULT]


@pytest.fixture(params=OTHERS)
def changes(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A worker's settings for each engine."""
    path = model_file(request.param, tmp_path)
    return {
        "engine": request.param,
        "model": path,
        "model_path": path,
        "compute_type": "default",
        "profile": "fast",
        "options": replace(of_profile("fast"), temperature=(0.0,), beam_size=1),
    }


def test_suspended_job_goes_on_elsewhere_with_the_same_text(tmp_path: Path, changes: dict[str, Any]) -> None:
    audio = recordings.two_windows(tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    job = card(tmp_path / "job", audio)
    with worker_in(tmp_path / "first", **changes, checkpoint_s=3_600.0) as worker:
        worker.ready()
        assert isinstance(worker.do(card(tmp_path / "whole", audio, job_id="whole")), Staged)
        put_down(worker, job, 5.0)

    with worker_in(tmp_path / "second", **changes) as worker:
        worker.ready()
        assert isinstance(worker.do(job), Staged)

    whole, resumed = document(tmp_path / "whole"), document(tmp_path / "job")
    assert whole["resumedFrom"] == 0 < resumed["resumedFrom"]
    assert resumed["segments"] == whole["segments"] != []
    assert whole["engine"]["engine"] == changes["engine"]


def test_job_with_an_option_that_the_engine_lacks_is_rejected_by_name(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    asked = card(tmp_path / "job", recordings.samples()[0].path, options='{"hotwords": "lantern"}')

    with worker_in(tmp_path, **changes) as worker:
        worker.ready()
        ending = worker.do(asked)

    assert isinstance(ending, Failed)
    assert ending.failure is Failure.REJECTED
    assert ending.detail.startswith(f"options.hotwords: engine {changes['engine']} has no hotwords")


def test_file_that_is_no_model_of_the_engine_is_told(tmp_path: Path, changes: dict[str, Any]) -> None:
    Path(changes["model_path"]).write_bytes(b"something else")

    with worker_in(tmp_path, **changes) as worker:
        assert worker.ends() == Exit.MODEL_BROKEN

    assert worker.logged("model cannot be used")


def test_check_and_fetch_of_the_doctor_know_the_engine(changes: dict[str, Any]) -> None:
    path, engine = changes["model_path"], changes["engine"]
    named = ["--model-path", path, "--options", json.dumps(codec.to_plain(changes["options"]))]

    fetched = _lines("fetch", path, "--engine", engine)
    checked = _lines("check", *named, "--engine", engine)

    assert fetched == [{"event": "ready", "path": path, "source": "file"}]
    assert {line["state"] for line in checked} == {"ok"}
    assert {"engine", "model", "options"} <= {line["check"] for line in checked}


def _lines(*arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "workerproc", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=REPOSITORY)
    return [json.loads(line) for line in done.stdout.splitlines()]
