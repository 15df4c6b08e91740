"""The engine's text equals `WhisperModel.transcribe` with the same options, from any window on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

import numpy as np
import pytest
from faster_whisper import WhisperModel

from supervisor.contract.job_options import Options, VadParameters, of_profile
from tests.workerproc import recordings
from tests.workerproc.lanes import in_a_lane
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.engine.batch import Lane
from workerproc.engine.port import Run
from workerproc.engine.whisper.recogniser import Recogniser

REM, FAST = of_profile("rem"), of_profile("fast")
KINDS = {
    "rem": REM,
    "words": replace(FAST, word_timestamps=True),
    "prompted": replace(FAST, initial_prompt="The keeper of the lighthouse.", hotwords="lantern"),
    "greedy, short ladder": replace(FAST, beam_size=1, temperature=(0.0, 0.2)),
    "voice detection of one's own": replace(
        FAST,
        vad_parameters=VadParameters(
            threshold=0.3,
            min_silence_duration_ms=100,
            speech_pad_ms=50,
            min_speech_duration_ms=200,
            max_speech_duration_s=8.0,
        ),
    ),
}

Text = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def speech() -> Any:
    """Two windows of speech, most of them full: the samples, one behind the other."""
    joined = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    return joined[: 50 * recordings.RATE_HZ]


def plain(model: WhisperModel, pcm: Any, options: Options) -> Text:
    """What faster-whisper gives by hand."""
    vad = options.vad_parameters
    segments, _ = model.transcribe(
        pcm.astype(np.float32) / 32_768.0,
        language=options.language,
        task=options.task,
        beam_size=options.beam_size,
        temperature=list(options.temperature),
        condition_on_previous_text=options.condition_on_previous_text,
        initial_prompt=options.initial_prompt or None,
        hotwords=options.hotwords or None,
        word_timestamps=options.word_timestamps,
        vad_filter=options.vad_filter,
        vad_parameters={
            "threshold": vad.threshold,
            "min_speech_duration_ms": vad.min_speech_duration_ms,
            "max_speech_duration_s": vad.max_speech_duration_s or float("inf"),
            "min_silence_duration_ms": vad.min_silence_duration_ms,
            "speech_pad_ms": vad.speech_pad_ms,
        },
    )
    return [
        (s.id, s.start, s.end, s.text, s.avg_logprob, [(w.start, w.end, w.word) for w in s.words or ()])
        for s in segments
    ]


def heard(
    recogniser: Recogniser, pcm: Any, options: Options, mark: Optional[ResumePoint] = None
) -> tuple[Text, list[tuple[ResumePoint, int]]]:
    """Give the engine's segments, and each mark with the number of segments that were there."""
    texts: Text = []
    marks: list[tuple[ResumePoint, int]] = []

    def note(run: Run) -> None:
        if not marks or marks[-1][0] != run.mark:
            marks.append((run.mark, len(texts)))

    def work(lane: Lane) -> None:
        with recordings.pcm_file(pcm) as pcm_file:
            run = recogniser.transcribe(pcm_file, options, lane, mark)
            for s in run.segments:
                words = [(w.start_s, w.end_s, w.text) for w in s.words]
                texts.append((s.id, s.start_s, s.end_s, s.text, s.avg_logprob, words))
                note(run)

    in_a_lane(recogniser.native, work)
    return texts, marks


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_text_equals_a_plain_call_and_goes_on_from_a_mark(
    direct: WhisperModel, recogniser: Recogniser, speech: Any, options: Options
) -> None:
    whole, marks = heard(recogniser, speech, options)

    assert whole == plain(direct, speech, options)
    assert len(marks) > 1, "the recording has several windows"
    mark, taken = marks[1]
    rest, _ = heard(recogniser, speech, options, mark)
    assert taken >= mark.segments > 0
    assert [*whole[: mark.segments], *rest] == whole, f"from {mark.seek / 100} s on"


def test_language_of_a_model_that_knows_one_is_that_one(recogniser: Recogniser) -> None:
    text, marks = heard(recogniser, recordings.silence(1.0), replace(FAST, language="de"))

    assert (text, marks) == ([], [])
