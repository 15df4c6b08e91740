"""Which part of a window is encoded, for which languages, and when its text is discarded."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest

from workerproc.engine.whisper import fit_windows
from workerproc.engine.whisper.fit_windows import Attempt

SOUND = Attempt(
    audio_s=6.0,
    tokens=30,
    log_probability=-0.3,
    compression_ratio=1.2,
    no_speech_probability=0.1,
    last_timestamp_s=6.0,
)


@pytest.mark.parametrize(
    ("audio_s", "encoded_s"),
    [
        (0.0, 2),
        (0.01, 3),
        (1.0, 3),
        (3.51, 6),
        (12.0, 14),
        (25.99, 28),
        (26.0, 28),
        (26.01, None),
        (30, None),
    ],
)
def test_cpu_encodes_the_audio_and_two_seconds_in_whole_seconds(
    audio_s: float, encoded_s: Optional[int]
) -> None:
    frames = fit_windows.frames(round(audio_s * 100), fit_windows.CPU_STEP_S)

    assert frames == (encoded_s and encoded_s * 100)


def test_gpu_encodes_few_sizes() -> None:
    sizes = {fit_windows.frames(frames, fit_windows.GPU_STEP_S) for frames in range(3_001)}

    assert sizes == {500, 1_000, 1_500, 2_000, 2_500, None}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"tokens": 111}, None),
        ({"tokens": 112}, "long"),
        ({"tokens": 224, "audio_s": 26.0}, "long"),
        ({"compression_ratio": 2.41}, "repetitive"),
        ({"log_probability": -1.01}, "improbable"),
        ({"no_speech_probability": 0.61}, "no_speech"),
        ({"last_timestamp_s": 7.0}, None),
        ({"last_timestamp_s": 7.02}, "late"),
    ],
)
def test_text_that_looks_wrong_is_discarded_for_a_reason(
    changed: dict[str, float], reason: Optional[str]
) -> None:
    assert fit_windows.redo_reason(replace(SOUND, **changed)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "width", "is_multilingual", "language", "is_fit"),
    [
        ("auto", 384, False, "en", True),
        ("auto", 384, True, "en", False),  # tiny: not measured
        ("auto", 512, True, "en", True),
        ("auto", 512, True, "sw", False),
        ("auto", 1280, True, "en", False),  # large: not measured
        ("fit", 1280, True, "sw", True),
        ("full", 384, False, "en", False),
    ],
)
def test_auto_is_fit_for_what_was_measured_only(
    window: str, width: int, is_multilingual: bool, language: str, is_fit: bool
) -> None:
    languages = fit_windows.languages(window, width, is_multilingual)

    assert fit_windows.is_fit(language, languages) is is_fit
