"""Sounds without speech for the accuracy benchmark, and what is done to pieces of speech."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from engine_corpus import RATE_HZ

MIDDLE_S = 9.0
_LENGTHS_S = (2.0, MIDDLE_S, 20.0)
# Heard without voice detection too. Few: each temperature is tried on them, as long as on minutes of speech.
TELLING = ("silence", "noise", "hum", "melody")
_FRAME = RATE_HZ // 100
_QUIET_DB = -40.0


def silence(length_s: float) -> Any:
    return np.zeros(round(length_s * RATE_HZ), dtype=np.float32)


def trimmed(pcm: Any) -> Any:
    """Cut what is 40 dB below the loudest hundredth of a second off both ends."""
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (_QUIET_DB / 10))
    return pcm[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


def without_speech() -> Iterator[tuple[str, float, Any]]:
    """Give each kind of sound in each length: kind, seconds, samples."""
    for name, make in _KINDS.items():
        for length_s in _LENGTHS_S:
            pcm = make(np.arange(round(length_s * RATE_HZ)) / RATE_HZ, np.random.default_rng(1))
            yield name, length_s, np.clip(pcm, -1, 1).astype(np.float32)


def _rumble(at_s: Any, chance: Any) -> Any:
    """Noise that falls with frequency, as of traffic."""
    spectrum = np.fft.rfft(chance.normal(size=len(at_s)))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
    noise = np.fft.irfft(spectrum, len(at_s))
    return 0.2 * noise / np.abs(noise).max()


def _breath(at_s: Any, chance: Any) -> Any:
    """Noise that swells and falls every three seconds."""
    return 0.05 * chance.normal(size=len(at_s)) * np.sin(np.pi * at_s / 3) ** 2


def _tone(at_s: Any, hz: Any) -> Any:
    return sum(np.sin(2 * np.pi * hz * k * at_s) / k**2 for k in range(1, 6))


def _melody(at_s: Any, chance: Any) -> Any:
    """Three plucked notes a second from a scale, over a bass, with a beat of noise."""
    notes_hz = 220.0 * 2 ** (chance.choice([0, 2, 4, 7, 9, 12], size=int(at_s[-1] * 3) + 1) / 12)
    within_s = at_s * 3 % 1 / 3
    hz = notes_hz[(at_s * 3).astype(int)]
    beat = chance.normal(size=len(at_s)) * np.exp(-60 * (at_s * 2 % 1 / 2))
    return 0.15 * _tone(within_s, hz) * np.exp(-6 * within_s) + 0.1 * _tone(at_s, 110.0) + 0.1 * beat


_KINDS: dict[str, Any] = {
    "silence": lambda at_s, chance: 0 * at_s,
    "faint noise": lambda at_s, chance: 0.001 * chance.normal(size=len(at_s)),
    "noise": lambda at_s, chance: 0.05 * chance.normal(size=len(at_s)),
    "rumble": _rumble,
    "breath": _breath,
    "hum": lambda at_s, chance: 0.2 * _tone(at_s, 50.0),
    "chord": lambda at_s, chance: 0.1 * sum(_tone(at_s, hz) for hz in (220.0, 277.2, 329.6)),
    "melody": _melody,
    "clicks": lambda at_s, chance: 0.5 * (at_s * 4 % 1 < 0.002),
    "sweep": lambda at_s, chance: 0.3 * np.sin(2 * np.pi * (200 * at_s + 100 * at_s**2)),
}
