"""Which part of a window is encoded, for which languages, and when its text is discarded."""

from __future__ import annotations

import random
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


# --- where windows end

SECOND = 16_000


def stretch(start_s: float, end_s: float) -> dict[str, int]:
    return {"start": round(start_s * SECOND), "end": round(end_s * SECOND)}


def pause(middle_s: float, length_s: float = 0.5) -> dict[str, int]:
    return stretch(middle_s - length_s / 2, middle_s + length_s / 2)


def test_speech_that_fits_into_one_window_has_no_end() -> None:
    assert fit_windows.ends([stretch(0, 26)], [pause(at) for at in (5, 13, 20)]) == []


def test_window_ends_in_the_longest_pause_within_reach() -> None:
    pauses = [pause(5, 2.0), pause(14), pause(19, 1.2), pause(25), pause(30)]

    assert fit_windows.ends([stretch(0, 40)], pauses) == [1_900]


def test_pauses_between_words_end_no_window() -> None:
    assert fit_windows.ends([stretch(0, 40)], [pause(20, 0.2)]) == []


def test_window_ends_at_the_first_pause_after_speech_without_any() -> None:
    assert fit_windows.ends([stretch(0, 90)], [pause(50), pause(70, 1.0), pause(74)]) == [5_000, 7_000]


def test_ends_are_positions_in_the_speech_without_the_silence_between() -> None:
    stretches = [stretch(10, 30), stretch(40, 60), stretch(100, 110)]
    pauses = [stretch(0, 10), stretch(30, 40), stretch(60, 100)]

    assert fit_windows.ends(stretches, pauses) == [2_000, 4_000]


def test_part_that_begins_in_the_middle_of_a_recording_has_its_own_ends() -> None:
    pauses = [pause(at, 0.6) for at in range(5, 200, 5)]

    assert fit_windows.ends([stretch(100, 140)], pauses) == [2_500]


@pytest.mark.parametrize("seed", range(20))
def test_no_window_is_longer_than_fits_where_there_are_pauses(seed: int) -> None:
    chance = random.Random(seed)
    at, pauses = 0.0, []
    while at < 600:
        at += chance.uniform(1, 9)
        pauses.append(pause(at, chance.uniform(0.1, 2)))
    pauses = [one for one in pauses if one["end"] - one["start"] >= 0.3 * SECOND]

    ends = fit_windows.ends([stretch(0, 600)], pauses)

    sizes = [(end - begin) / 100 for begin, end in zip([0, *ends], [*ends, 60_000])]
    middles = [(one["start"] + one["end"]) / 2 / 160 for one in pauses]
    assert max(sizes) <= fit_windows.WINDOW_MOST_S + 0.01
    assert all(min(abs(end - middle) for middle in middles) <= 1 for end in ends)
