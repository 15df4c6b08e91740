"""Pieces of speech lose the silence around them, and sounds without speech are fit for a file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = str(Path(__file__).resolve().parents[2] / "bench")


@pytest.fixture(scope="module")
def sounds() -> ModuleType:
    sys.path.insert(0, BENCH)
    try:
        return importlib.import_module("accuracy_sounds")
    finally:
        sys.path.remove(BENCH)


def test_silence_around_speech_is_cut_and_pauses_within_stay(sounds: ModuleType) -> None:
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
    pause, faint = sounds.silence(0.5), 0.001 * tone

    cut = sounds.trimmed(np.concatenate([faint, tone, pause, tone, faint, pause]))

    assert len(cut) == len(tone) * 2 + len(pause)


def test_each_sound_without_speech_is_whole_and_within_full_scale(sounds: ModuleType) -> None:
    made = list(sounds.without_speech())

    assert {kind for kind, _, _ in made} > set(sounds.TELLING)
    assert {length_s for _, length_s, _ in made} > {sounds.MIDDLE_S}
    for kind, length_s, pcm in made:
        assert len(pcm) == length_s * 16_000, kind
        assert np.isfinite(pcm).all(), kind
        assert np.abs(pcm).max() <= 1, kind


def test_sounds_are_the_same_each_time(sounds: ModuleType) -> None:
    for (kind, _, one), (_, _, other) in zip(sounds.without_speech(), sounds.without_speech()):
        assert np.array_equal(one, other), kind
