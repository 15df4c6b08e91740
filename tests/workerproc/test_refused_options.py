"""A real worker refuses what its model can't follow by name, and tells in the transcript what it left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.job_options import Options, VadParameters
from supervisor.contract.wire.messages import Failed, Failure, Staged
from tests.workerproc import recordings
from tests.workerproc.process import Worker, card, worker_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CLIP = recordings.samples()[0].path
NAMES = "Zürich, Nguyễn, Kowalczyk, "


def transcript(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "transcript.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"hotwords": NAMES * 30}, "options.hotwords: "),
        ({"initial_prompt": NAMES * 15, "hotwords": NAMES * 8}, "options.initial_prompt: "),
        ({"hotwords": "a \ud83d b"}, "options.hotwords: contains a lone surrogate"),
        ({"initial_prompt": "<|endoftext|>"}, "options.initial_prompt: contains <|endoftext|>"),
        ({"language": "de"}, "options.language: the model supports English only, not de"),
        ({"task": "translate"}, "options.task: the model supports English only"),
    ],
)
def test_option_that_would_cost_the_text_fails_its_recording_by_name(
    worker: Worker, tmp_path: Path, asked: dict[str, Any], words: str
) -> None:
    ended = worker.do(card(tmp_path / "job", CLIP, options=json.dumps(asked)))

    assert isinstance(ended, Failed)
    assert ended.failure is Failure.REJECTED
    assert ended.detail.startswith(words)
    assert isinstance(worker.do(card(tmp_path / "next", CLIP, "next")), Staged), "the worker goes on"


def test_what_is_cut_or_left_out_stands_in_the_transcripts_warnings(worker: Worker, tmp_path: Path) -> None:
    asked = {
        "initial_prompt": "The lighthouse keeper climbs the stairs. " * 40,
        "vad_parameters": {"min_speech_duration_ms": 60_000},
        "temperature": 0.5,
    }

    worker.do(card(tmp_path / "job", CLIP, options=json.dumps(asked)))

    prompt, drawn, voice = transcript(tmp_path / "job")["warnings"]
    assert drawn.startswith("temperature: begins with 0.5")
    assert prompt.startswith("initial_prompt: ")
    assert prompt.endswith(" tokens given, the last 223 used")
    assert voice.startswith("vad_parameters: ")
    assert voice.endswith("(min_speech_duration_ms=60000)")


def test_recording_without_options_of_its_own_has_no_warnings(worker: Worker, tmp_path: Path) -> None:
    worker.do(card(tmp_path / "job", CLIP))

    assert transcript(tmp_path / "job")["warnings"] == []


def test_settings_that_take_the_models_room_end_the_worker_with_the_code_for_settings(tmp_path: Path) -> None:
    """Its slot is held for a person then: another process would say the same."""
    wanted = Options(hotwords=NAMES * 30, vad_parameters=VadParameters())

    with worker_in(tmp_path, options=wanted) as worker:
        code = worker.ends()

    assert code == Exit.SETTINGS_WRONG
    (line,) = [line for line in worker.log_lines() if line["level"].lower() == "error"]
    assert line["reason"].startswith("[transcription] hotwords: ")
