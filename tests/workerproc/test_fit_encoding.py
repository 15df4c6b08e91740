"""Fit windows with the real model: the same text in any batch and after a resume, and a way back to 30 s."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np
import pytest
from faster_whisper import WhisperModel

from supervisor.contract.job_options import of_profile
from tests.workerproc import recordings
from tests.workerproc.lanes import in_a_lane
from tests.workerproc.process import model_path
from tests.workerproc.test_engine import heard
from tests.workerproc.test_lockstep import alone, sounds, together
from workerproc.engine.batch import Lane
from workerproc.engine.whisper.fit_encoding import Fit, FitEncoding
from workerproc.engine.whisper.recogniser import Recogniser

FIT = replace(of_profile("fast"), window="fit")
FULL = replace(FIT, window="full")
SHORT = [sound for sound in sounds() if len(sound) < 20 * recordings.RATE_HZ]


@pytest.fixture(scope="module")
def warm() -> Recogniser:
    recogniser = Recogniser(model_path(), "cpu", "int8", 1, step=lambda: None)
    recogniser.warm_up()
    return recogniser


def counted(recogniser: Recogniser, sound: Any, options: Any) -> tuple[str, dict[str, int]]:
    """Give a recording's text, and how its windows were computed."""

    def work(lane: Lane) -> tuple[str, dict[str, int]]:
        with recordings.pcm_file(sound) as pcm_file:
            run = recogniser.transcribe(pcm_file, options, lane)
            return "".join(segment.text for segment in run.segments), dict(run.windows)

    return in_a_lane(recogniser.native, work)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_text_of_fit_windows_is_the_same_in_batches_of_any_size(warm: Recogniser) -> None:
    jobs = [(sound, FIT) for sound in SHORT[:8]]

    texts = together(warm, jobs, rows=1)

    assert all(texts)
    assert together(warm, jobs, rows=3) == texts
    assert together(warm, jobs[::-1], rows=8) == texts[::-1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_full_windows_beside_fit_ones_have_the_text_of_a_plain_call(
    direct: WhisperModel, warm: Recogniser
) -> None:
    jobs = [(sound, options) for sound in SHORT[:4] for options in (FULL, FIT)]

    texts = together(warm, jobs, rows=4)

    assert texts[::2] == [alone(direct, sound, FULL) for sound in SHORT[:4]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_words", [False, True])
def test_recording_with_fit_windows_is_resumed_with_the_same_text(warm: Recogniser, has_words: bool) -> None:
    speech = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    options = replace(FIT, word_timestamps=has_words, temperature=(0.0,))

    whole, marks = heard(warm, speech[: 44 * recordings.RATE_HZ], options)

    mark, _ = marks[-1]
    rest, _ = heard(warm, speech[: 44 * recordings.RATE_HZ], options, mark)
    assert mark.seek > 0
    assert [*whole[: mark.segments], *rest] == whole


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_short_speech_is_computed_once_and_no_time_is_past_its_end(warm: Recogniser) -> None:
    for sound in SHORT[:8]:
        segments, _ = heard(warm, sound, replace(FIT, word_timestamps=True))
        assert max(end for _, _, end, *_ in segments) <= len(sound) / recordings.RATE_HZ + 0.01

    text, windows = counted(warm, SHORT[0], FIT)
    assert text
    assert windows == {"fit": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"temperature": (0.4,)}, {"vad_filter": False}], ids=["sampled", "without voice detection"]
)
def test_words_that_cannot_be_checked_have_full_windows(warm: Recogniser, options: dict[str, Any]) -> None:
    _, windows = counted(warm, SHORT[0], replace(FIT, **options))

    assert windows == {"full": 1}


# --- without a model


class Base:
    """Stands in for faster-whisper's model: notes the shapes that it is asked to encode."""

    max_length = 448
    time_precision = 0.02

    log_probability = -0.2

    def __init__(self) -> None:
        self.encoded_shapes: list[tuple[int, ...]] = []
        self.temperatures: list[list[float]] = []

    def encode(self, features: Any) -> Any:
        self.encoded_shapes.append(features.shape)
        return np.full((1, features.shape[1] // 2, 4), float(len(self.encoded_shapes)), np.float32)

    def generate_with_fallback(self, encoded: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
        self.temperatures.append(list(options.temperatures))
        result = SimpleNamespace(sequences_ids=[[1] * 5], no_speech_prob=0.0)
        return (result, self.log_probability, 0.0, 1.0)


@dataclass(frozen=True)
class Asked:
    """The options of faster-whisper that are read here."""

    temperatures: list[float]
    max_new_tokens: Optional[int] = None


class Model(FitEncoding, Base):
    def __init__(self) -> None:
        super().__init__()
        self.windows = Counter()
        self.fit = Fit(np.zeros((1, 1_500, 4), np.float32), 1.0)


def test_encoder_output_from_language_detection_serves_the_first_window_only() -> None:
    model, features = Model(), np.ones((80, 3_000), np.float32)
    model.audio_frames = 600
    model.known = model.encode_short(features[:, :600], 800)

    first = np.asarray(model.encode(features))
    model.seek = 600
    second = np.asarray(model.encode(features))

    assert model.encoded_shapes == [(80, 800), (80, 800)]
    assert first.shape == second.shape == (1, 1_500, 4)
    assert (first[0, 399, 0], first[0, 400, 0], second[0, 399, 0]) == (1.0, 0.0, 2.0)


def test_window_that_is_almost_full_is_encoded_as_a_whole() -> None:
    model = Model()
    model.audio_frames = 2_700

    model.encode(np.ones((80, 3_000), np.float32))

    assert model.encoded_shapes == [(80, 3_000)]


@pytest.mark.parametrize(
    ("log_probability", "shapes", "temperatures", "windows"),
    [
        (-0.2, [(80, 800)], [[0.0]], {"fit": 1}),
        (-1.2, [(80, 800), (80, 3_000)], [[0.0], [0.0, 0.2]], {"redone_improbable": 1}),
    ],
)
def test_text_that_looks_wrong_is_computed_again_with_30_s_and_all_temperatures(
    log_probability: float,
    shapes: list[tuple[int, int]],
    temperatures: list[list[float]],
    windows: dict[str, int],
) -> None:
    model = Model()
    model.audio_frames, model.log_probability = 600, log_probability
    options = Asked([0.0, 0.2])

    encoded = model.encode(np.ones((80, 3_000), np.float32))
    model.generate_with_fallback(encoded, [1, 2], SimpleNamespace(timestamp_begin=50_363), options)

    assert model.encoded_shapes == shapes
    assert model.temperatures == temperatures
    assert model.windows == windows
