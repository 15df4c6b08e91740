"""Short recordings of speech, cut from the shipped samples."""

from __future__ import annotations

import random
import wave
from pathlib import Path

import av
import numpy as np

from tests.processes.rem_service import SAMPLES

RATE_HZ = 16_000


def cut_clips(folder: Path, count: int, seed: int) -> list[Path]:
    """Write so many clips of 2 to 4 seconds."""
    chance = random.Random(seed)
    sound = _samples(SAMPLES / "lighthouse.ogg")
    clips = []
    for number in range(count):
        length = int(RATE_HZ * chance.uniform(2.0, 4.0))
        start = chance.randrange(len(sound) - length)
        path = folder / f"clip-{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(sound[start : start + length].astype("<i2").tobytes())
        clips.append(path)
    return clips


def _samples(path: Path) -> np.ndarray:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as source:
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
