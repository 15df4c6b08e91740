"""Recordings for the engine's benchmark: short ones, long ones, and some whose words are known."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import scoring

TOP = Path(__file__).resolve().parent.parent
SAMPLES = TOP / "supervisor" / "samples"
HUMAN = TOP.parent / "shared" / "audio"
RATE_HZ = 16_000
PIECES_S = (5, 7, 9, 11, 14)
_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".opus")


def short_ones(folder: Path, count: int) -> list[str]:
    """Cut `count` recordings of 5 to 14 s, the same each time."""
    whole = [piece for sound in _sounds(folder) for piece in _pieces(sound)]
    return [written(folder / f"recording-{n:02}.wav", [whole[n % len(whole)]]) for n in range(count)]


def long_one(folder: Path, length_s: float) -> str:
    """Say all sources one after the other, with pauses, until the recording is so long."""
    import numpy as np

    pause = np.zeros(RATE_HZ, dtype=np.float32)
    sounds, parts, samples = _sounds(folder), [], 0
    while samples < length_s * RATE_HZ:
        sound = sounds[(len(parts) // 2) % len(sounds)]
        parts += [sound, pause]
        samples += len(sound) + len(pause)
    return written(folder / f"long-{length_s:.0f}.wav", parts)


def known_ones(human: Optional[Path] = HUMAN) -> dict[str, str]:
    """Give recordings with the words that are said in them, by path; `human`: a folder beside the samples."""
    known: dict[str, str] = {}
    tables = [(SAMPLES / "samples.tsv", "text")] + (
        [(human / "references.tsv", "reference")] if human else []
    )
    for table, words in tables:
        if table.exists():
            with table.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                known.update({str(table.parent / row["file"]): row[words] for row in rows})
    return known


def word_error_ratio(said: Sequence[str], heard: Sequence[str]) -> float:
    """Say how many words are wrong, missing or too many, of all that were said."""
    pairs = [(scoring.words(one), scoring.words(other)) for one, other in zip(said, heard)]
    return scoring.total([scoring.errors(*pair) for pair in pairs]).rate


def _sounds(folder: Path) -> list[Any]:
    paths = sorted([*SAMPLES.glob("*.*"), *HUMAN.glob("*.*")])
    return [decoded(path, folder) for path in paths if path.suffix in _SOUNDS]


def decoded(path: Path, folder: Path) -> Any:
    """Give a file's samples as the product decodes them."""
    from workerproc.audio import decode
    from workerproc.audio.pcm_file import PcmFile

    with PcmFile(folder) as pcm_file:
        decode.decode(path, pcm_file, 1e6, lambda done_s, audio_s: None)
        return pcm_file.read(0, len(pcm_file))


def _pieces(sound: Any) -> list[Any]:
    pieces, at = [], 0
    while len(sound) - at >= PIECES_S[0] * RATE_HZ:
        length = PIECES_S[len(pieces) % len(PIECES_S)] * RATE_HZ
        pieces.append(sound[at : at + length])
        at += length
    return pieces


def written(path: Path, parts: Sequence[Any]) -> str:
    """Write the parts one after the other into a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        for part in parts:
            file.writeframes((part * 32_767).astype("<i2").tobytes())
    return str(path)
