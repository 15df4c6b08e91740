"""Short recordings of speech, cut from the shipped samples."""

from __future__ import annotations

import random
import wave
from pathlib import Path

import av
import numpy as np

from tests.end_to_end.running_service import SAMPLES

RATE_HZ = 16_000


def cut_clips(folder: Path, count: int, seed: int) -> list[Path]:
    """Write so many clips of 2 to 5 seconds, cut in pauses: half a word makes the model guess."""
    sound = _samples(SAMPLES / "lighthouse.ogg")
    cuts = _pauses(sound)
    whole = [(a, b) for a in cuts for b in cuts if 2.0 <= (b - a) / RATE_HZ <= 5.0]
    clips = []
    for number, (start, end) in enumerate(random.Random(seed).sample(whole, min(count, len(whole)))):
        path = folder / f"clip-{number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(sound[start:end].astype("<i2").tobytes())
        clips.append(path)
    return clips


def _pauses(sound: np.ndarray) -> list[int]:
    """Find the middles of quiet stretches of a fifth of a second and more."""
    frame = RATE_HZ // 50
    parts = sound[: len(sound) // frame * frame].reshape(-1, frame).astype(float)
    loudness = np.sqrt((parts**2).mean(axis=1))
    is_quiet = loudness < 0.1 * np.median(loudness[loudness > 10])
    middles, since = [], None
    for number, quiet in enumerate([*is_quiet, False]):
        if quiet and since is None:
            since = number
        elif not quiet and since is not None:
            if number - since >= 10:
                middles.append((since + number) // 2 * frame)
            since = None
    return middles


def _samples(path: Path) -> np.ndarray:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as source:
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
