"""Recordings for tests: the shipped samples, human speech where it is at hand, and bad audio made here."""

from __future__ import annotations

import csv
import struct
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import av
import numpy as np
import numpy.typing as npt

from tests.workerproc.process import REPOSITORY
from workerproc.audio import decode
from workerproc.audio.pcm_file import PcmFile

SAMPLES = REPOSITORY / "supervisor" / "samples"
HUMAN = REPOSITORY.parent / "shared" / "audio"  # not part of the project; CI may have it
RATE_HZ = 16_000

Pcm = Any  # npt.NDArray[np.int16]


@dataclass(frozen=True)
class Clip:
    """A recording of speech and what is said in it."""

    path: Path
    reference: str


def samples() -> list[Clip]:
    return _clips(SAMPLES / "samples.tsv", "text")


def human_clips() -> list[Clip]:
    """Empty where the clips are not at hand: tests skip then and say so."""
    return _clips(HUMAN / "references.tsv", "reference") if HUMAN.is_dir() else []


def _clips(table: Path, column: str) -> list[Clip]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [Clip(table.parent / row["file"], row[column]) for row in rows]


def two_windows(folder: Path) -> Path:
    """The beginning of the long sample: two windows, a worker's work for some seconds; half of it all."""
    return wav(folder / "lighthouse.wav", samples_of(SAMPLES / "lighthouse.ogg")[: 40 * RATE_HZ])


def tone(seconds: float, rate_hz: int = RATE_HZ) -> npt.NDArray[np.int16]:
    """A loud tone: audio without speech."""
    return (np.sin(np.arange(int(seconds * rate_hz)) / 9.0) * 9_000).astype(np.int16)


def noise(seconds: float) -> npt.NDArray[np.int16]:
    return np.random.default_rng(1).normal(0, 3_000, int(seconds * RATE_HZ)).astype(np.int16)


def silence(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.int16)


def wav(path: Path, pcm: Pcm, rate_hz: int = RATE_HZ, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


def wav_24_bit(path: Path, pcm: Pcm) -> Path:
    wide = (pcm.astype(np.int32) << 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(RATE_HZ)
        file.writeframes(wide.tobytes())
    return path


def wav_header(data_bytes: int, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    """The 44 bytes before the samples, saying whatever is wanted."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        min(data_bytes + 36, 0xFFFFFFFF),
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate_hz,
        min(rate_hz * channels * 2, 0xFFFFFFFF),
        channels * 2,
        16,
        b"data",
        data_bytes,
    )


def encoded(path: Path, codec: str, container: str, pcm: Pcm, rate_hz: int = RATE_HZ) -> Path:
    """Write samples with one of FFmpeg's encoders."""
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=rate_hz, frame_size=1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return path


def video_without_audio(path: Path) -> Path:
    with av.open(str(path), "w", format="matroska") as output:
        stream: Any = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for shade in range(5):
            picture = np.full((64, 64, 3), shade * 40, dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def with_garbage(path: Path, source: Path, at_ratio: float, size_bytes: int = 4_096) -> Path:
    """Copy a file and overwrite a piece of it."""
    data = bytearray(source.read_bytes())
    at = int(len(data) * at_ratio)
    data[at : at + size_bytes] = np.random.default_rng(2).bytes(size_bytes)
    path.write_bytes(bytes(data))
    return path


def pcm_file(pcm: Optional[Pcm] = None) -> PcmFile:
    """A tape on this machine's disk, empty or with samples."""
    made = PcmFile(Path(tempfile.gettempdir()))
    if pcm is not None:
        made.append(pcm)
    return made


def samples_of(path: Path) -> Pcm:
    """Decode a file as the worker does."""
    with pcm_file() as made:
        decode.decode(path, made, 3_600.0, lambda done_s, audio_s: None)
        return np.asarray(made.read(0, len(made)) * 32_768.0).astype(np.int16)
