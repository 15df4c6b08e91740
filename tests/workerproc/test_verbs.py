"""The verbs, and what this room never touches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract import codec
from supervisor.contract.exits import Exit
from supervisor.contract.job_options import Options
from tests.workerproc.process import LIMIT_S, REPOSITORY, model_path
from workerproc.transcripts import formats, transcript
from workerproc.transcripts.transcript import Origin, Recognised, Segment
from workerproc.verbs import check

pytestmark = pytest.mark.slow

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C"}
DOCUMENT: dict[str, Any] = transcript.build(
    Origin("r", "u", "d", "base", "2026-11-22T13:21:41Z", 1, {}, {}),
    Recognised("ja", 2.0, [Segment(1, 0.0, 2.0, "こんにちは")]),
)


def verb(*arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "workerproc", *arguments],
        env={**ENVIRONMENT, **environ},
        input=stdin,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("form", list(formats.FORMATS))
def test_format_converts_a_stored_transcript_whatever_the_locale(form: str) -> None:
    done = verb("format", form, stdin=formats.to_json(DOCUMENT).encode("utf-8"))

    assert (done.returncode, done.stderr) == (Exit.OK, b"")
    assert done.stdout.decode("utf-8").rstrip("\n") == formats.FORMATS[form](DOCUMENT).rstrip("\n")
    assert done.stdout.endswith(b"\n")


@pytest.mark.parametrize("stdin", [b"", b"\xff\xfe", b"[]", b"{}", b'{"segments": 3}', b'{"segments": [{}]}'])
def test_format_refuses_what_is_no_transcript(stdin: bytes) -> None:
    done = verb("format", "srt", stdin=stdin)

    assert done.returncode == Exit.FAILED
    assert b"not a transcript" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ("format", "docx"),
        ("format",),
        ("fetch",),
        ("fetch", "a", "b"),
        ("fetch", "a", "--engine", "vosk"),
        ("check", "x"),
        ("sing",),
    ],
)
def test_wrong_usage_is_answered_with_usage(arguments: tuple[str, ...]) -> None:
    done = verb(*arguments)

    assert done.returncode == Exit.USAGE
    assert done.stderr
    assert done.stdout == b""


def findings(done: subprocess.CompletedProcess[bytes]) -> dict[str, dict[str, str]]:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"check", "state", "detail", "cure"} for line in lines)
    return {line["check"]: line for line in lines}


def test_check_finds_the_engine_and_computes_with_a_model() -> None:
    done = verb("check", "--model-path", model_path())

    found = findings(done)
    assert done.returncode == Exit.OK
    assert list(found) == ["faster-whisper", "ctranslate2", "onnxruntime", "av", "engine", "model"]
    assert {line["state"] for line in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("asked", "state", "words"),
    [
        (Options(hotwords="Kubernetes"), "ok", "can follow"),
        (Options(hotwords="Grüezi, Nguyễn, " * 40), "fail", "[transcription] hotwords: "),
        (Options(language="de"), "fail", "[transcription] language: the model supports English only"),
    ],
)
def test_check_counts_a_services_options_with_the_models_own_tokens(
    asked: Options, state: str, words: str
) -> None:
    done = verb("check", "--model-path", model_path(), "--options", json.dumps(codec.to_plain(asked)))

    finding = findings(done)["options"]
    assert (finding["state"], done.returncode) == (state, Exit.OK if state == "ok" else Exit.FAILED)
    assert words in finding["detail"]


def test_check_names_what_a_folder_lacks(tmp_path: Path) -> None:
    done = verb("check", "--model-path", str(tmp_path))

    finding = findings(done)["model"]
    assert (done.returncode, finding["state"]) == (Exit.FAILED, "fail")
    assert "model.bin" in finding["detail"]
    assert finding["cure"]


def test_check_knows_the_av_that_breaks_decoding() -> None:
    judged = {
        version: check.judged("av", version).state for version in ("15.1.0", "18.1.0", "19.0.0", "20.0")
    }

    assert judged == {"15.1.0": "ok", "18.1.0": "ok", "19.0.0": "fail", "20.0": "fail"}


def test_check_by_hand_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """onnxruntime keeps an id in ~/.cache/Microsoft and uploads usage unless it is told not to."""
    done = verb("check", "--model-path", model_path(), HOME=str(tmp_path))

    assert done.returncode == Exit.OK
    assert list(tmp_path.rglob("*")) == []


FOREIGN = """
import sys, pkgutil, importlib, workerproc
for module in pkgutil.iter_modules(workerproc.__path__):
    if module.name != "__main__":
        importlib.import_module("workerproc." + module.name)
names = {name.split(".")[0] for name in sys.modules}
ours = {name for name in sys.modules if name.startswith("supervisor.")}
rooms = {name for name in ours if not name.startswith("supervisor.contract")}
print(sorted(names & {"boto3", "botocore", "pynvml", "aiohttp", "torch", "asyncio"}), sorted(rooms))
"""


def test_no_module_of_a_worker_imports_the_cloud_or_another_room() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
        text=True,
    )

    cloud, rooms = done.stdout.strip().rsplit(" ", 1)
    assert rooms == "[]"
    assert "boto" not in cloud
    assert "pynvml" not in cloud
