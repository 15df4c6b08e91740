"""Recordings in one container after the other, written with the stamps that a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.workerproc.recordings import tone

VIDEO_HZ = 5
_VIDEO_CODECS = {"webm": "libvpx", "flv": "flv1"}


@dataclass(frozen=True)
class Kind:
    """A container with a codec in it."""

    container: str
    codec: str
    rate_hz: int
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.container, self.codec, *self.options.values()])


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
# Those whose packets carry stamps of their own.
STAMPED = (
    Kind("mp4", "aac", 44_100),
    Kind("mp4", "aac", 44_100, FRAGMENTED),
    Kind("ipod", "aac", 16_000),
    Kind("mpegts", "aac", 48_000),
    Kind("mpegts", "mp2", 48_000),
    Kind("flv", "aac", 44_100),
    Kind("flv", "libmp3lame", 44_100),
    Kind("matroska", "aac", 44_100),
    Kind("matroska", "pcm_s16le", 16_000),
    Kind("webm", "libopus", 48_000),
    Kind("webm", "libopus", 48_000, {"live": "1"}),
    Kind("ogg", "libopus", 48_000),
    Kind("ogg", "flac", 16_000),
    Kind("nut", "libopus", 48_000),
)
UNSTAMPED = (
    Kind("adts", "aac", 16_000),
    Kind("ac3", "ac3", 48_000),
    Kind("mp3", "libmp3lame", 44_100),
    Kind("mp3", "libmp3lame", 44_100, {"write_xing": "0"}),
    Kind("wav", "pcm_s16le", 16_000),
    Kind("wav", "pcm_s16le", 16_000, {"rf64": "always"}),
    Kind("aiff", "pcm_s16be", 16_000),
    Kind("au", "pcm_s16be", 16_000),
    Kind("caf", "pcm_s16le", 16_000),
    Kind("w64", "pcm_s16le", 16_000),
    Kind("flac", "flac", 16_000),
    Kind("avi", "pcm_s16le", 16_000),
)


@dataclass(frozen=True)
class Track:
    """One track of audio: `seconds` of a tone (or of silence), stamped `late_s` and with one gap."""

    seconds: float = 6.0
    late_s: float = 0.0
    gap_at_s: float = 1e9
    gap_s: float = 0.0
    is_silent: bool = False
    is_default: bool = True


def write(path: Path, kind: Kind, tracks: Sequence[Track] = (Track(),), has_video: bool = False) -> Path:
    """Write these tracks, beside a picture that begins at zero where it is wanted."""
    with av.open(str(path), "w", format=kind.container, options=dict(kind.options)) as output:
        packets: list[Any] = []
        streams = [_stream(output, kind, track) for track in tracks]
        video = _video_stream(output, kind) if has_video else None
        for stream, track in zip(streams, tracks):
            packets += _encoded(stream, kind, track)
        if video is not None:
            packets += _pictures(video, tracks[0].seconds + tracks[0].late_s)
        packets = [packet for packet in packets if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def _stream(output: Any, kind: Kind, track: Track) -> Any:
    stream = output.add_stream(kind.codec, rate=kind.rate_hz)
    stream.layout = "mono"
    stream.codec_context.time_base = Fraction(1, kind.rate_hz)
    # A number, because PyAV 15, the last for Python 3.9, takes no flag here.
    stream.disposition = av.stream.Disposition.default.value if track.is_default else 0
    return stream


def _encoded(stream: Any, kind: Kind, track: Track) -> list[Any]:
    pcm = tone(track.seconds, kind.rate_hz) * (0 if track.is_silent else 1)
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = kind.rate_hz
    context = stream.codec_context
    resampler = av.AudioResampler(
        context.format, "mono", kind.rate_hz, frame_size=context.frame_size or 1_024
    )
    packets, at = [], 0
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        shift_s = track.late_s + (track.gap_s if at / kind.rate_hz >= track.gap_at_s else 0.0)
        piece.pts, piece.time_base = at + round(shift_s * kind.rate_hz), Fraction(1, kind.rate_hz)
        at += piece.samples
        packets += stream.encode(piece)
    return packets + list(stream.encode(None))


def _video_stream(output: Any, kind: Kind) -> Any:
    stream = output.add_stream(_VIDEO_CODECS.get(kind.container, "mpeg4"), rate=VIDEO_HZ)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _pictures(stream: Any, seconds: float) -> list[Any]:
    packets: list[Any] = []
    for number in range(int(seconds * VIDEO_HZ)):
        shade = np.full((64, 64, 3), number * 7 % 255, dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(shade, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, VIDEO_HZ)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))
