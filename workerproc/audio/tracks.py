"""Selects the audio track to transcribe, and reads the length that the file states for it.

A length is used only where the file counts samples or states a duration. FFmpeg's estimate from the bit
rate is ignored: it can be wrong by a factor of 100 (AAC in ADTS with silence).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Optional, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from workerproc.audio import headers
from workerproc.audio.timeline import GAP_MOST_S
from workerproc.process.errors import AudioRejected

_LEAST_RATE_HZ = 4_000  # telephones use 8 kHz; speech needs 3 kHz
_MAX_RATE_HZ = 768_000
_MAX_CHANNELS = 64
_COUNTED = frozenset({"wav", "flac", "aiff"})  # in samples: a missing one is noticed
# Dispositions of a track that is not the main one.
_SPECIAL = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired
_MATROSKA_DURATION = re.compile(rb"\x44\x89[\x84\x88]")  # the element's name and the size of a number
_LITTLE_ENDIAN = re.compile(r"pcm_[a-z]\d+le")


@dataclass(frozen=True)
class Length:
    """A track's length as the file states it; None where it states none."""

    seconds: Optional[float]
    is_exact: bool = False  # counted in samples


def is_audio_decoder(name: str) -> bool:
    """Say whether an FFmpeg codec decodes audio."""
    try:
        return av.Codec(name, "r").type == "audio"
    except av.codec.codec.UnknownCodecError:
        return False  # it only encodes


def in_order(container: InputContainer) -> list[AudioStream]:
    """Return the tracks that can be decoded, in the order in which a player would prefer them.

    Raises `AudioRejected` where there is none.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        kinds = sorted({str(stream.type) for stream in container.streams}) or ["nothing"]
        raise AudioRejected(f"there is no audio in this file (it holds {', '.join(kinds)})")
    problems = [_problem(track) for track in tracks]
    usable = [track for track, problem in zip(tracks, problems) if not problem]
    if not usable:
        raise AudioRejected(problems[0])
    return sorted(usable, key=_is_second_choice)


def _is_second_choice(track: AudioStream) -> tuple[bool, bool]:
    return bool(track.disposition & _SPECIAL), not track.disposition & Disposition.default


def _problem(track: AudioStream) -> str:
    """Say why a track cannot be decoded; empty where it can."""
    # The codec context is None where FFmpeg does not know the codec, although it is typed otherwise.
    codec: Any = track.codec_context
    if codec is None:
        return "the audio in this file is in a format that FFmpeg does not know"
    if not 1 <= codec.sample_rate <= _MAX_RATE_HZ:
        return f"the file claims a sampling rate of {codec.sample_rate} Hz: its header is damaged"
    if codec.sample_rate < _LEAST_RATE_HZ:
        return f"the sampling rate is {codec.sample_rate} Hz: speech needs at least {_LEAST_RATE_HZ} Hz"
    if not 1 <= codec.channels <= _MAX_CHANNELS:
        return f"the file claims {codec.channels} channels: its header is damaged"
    return ""


def decoder(track: AudioStream, head: bytes) -> AudioCodecContext:
    """Give what decodes the track's packets; `head`: the file's first bytes.

    FFmpeg reads the header of a big-endian WAV file (RIFX), and takes its samples for little-endian ones.
    """
    own: AudioCodecContext = track.codec_context
    if head[:4] != b"RIFX" or not _LITTLE_ENDIAN.fullmatch(own.name):
        return own
    # PyAV's annotation knows decoders by their kind only.
    made = cast(AudioCodecContext, av.CodecContext.create(f"{own.name[:-2]}be", "r"))
    made.sample_rate, made.layout = own.sample_rate, own.layout
    return made


def zero_s(container: InputContainer, head: bytes) -> float:
    """Return the timestamp at which the recording begins.

    It is zero where the container has its own timeline with a stated duration (MP4, Matroska). Elsewhere it
    is the earliest timestamp: the clock of a broadcast, or of a part of one, can start at any value.
    """
    begins_s = _begins_s(container)
    name = container.format.name
    has_own_time = ("mp4" in name or "matroska" in name) and _is_stated(name, head)
    return 0.0 if has_own_time and begins_s <= GAP_MOST_S else begins_s


def length(
    container: InputContainer, track: AudioStream, head: bytes, wav: Optional[headers.WavData]
) -> Length:
    """Return the length that the file states for this track. `head`: the file's first bytes."""
    name = container.format.name
    if name == "wav":
        return Length(wav.announced_s if wav is not None and wav.is_exact else None, is_exact=True)
    if name == "mp3":
        return Length(headers.mp3_announced_s(head))
    if not _is_stated(name, head):
        return Length(None)
    seconds = _stated_s(container, track, head)
    return Length(seconds if seconds and seconds > 0 else None, name in _COUNTED)


def _is_stated(name: str, head: bytes) -> bool:
    if name == "flac":
        return head[:4] == b"fLaC" and bool(int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF)
    if "matroska" in name:
        return _MATROSKA_DURATION.search(head) is not None
    if "mp4" in name:
        return b"mvex" not in head
    return name in _COUNTED


def _begins_s(container: InputContainer) -> float:
    """Return the earliest timestamp; it may be missing, although PyAV types it otherwise."""
    first: Optional[int] = container.start_time
    return 0.0 if first is None else float(first / av.time_base)


def _stated_s(container: InputContainer, track: AudioStream, head: bytes) -> Optional[float]:
    whole_s = None if container.duration is None else container.duration / av.time_base
    if _begins_s(container) > GAP_MOST_S:
        return None
    if track.duration is None or not track.time_base:
        return whole_s if len(container.streams) == 1 else None  # audio may end before video
    codec_bytes_per_s = track.codec_context.rate * track.codec_context.channels * _sample_bytes(track)
    track_s = float(track.duration * track.time_base)
    if track_s * codec_bytes_per_s >= headers.UNKNOWN_FROM_BYTES and container.format.name == "aiff":
        return None
    if "mp4" in container.format.name and whole_s is not None:
        late_s = 0.0 if track.start_time is None else float(track.start_time * track.time_base)
        return min(max(0.0, late_s) + track_s, whole_s)  # edit lists may skip a part of the track
    return track_s


def _sample_bytes(track: AudioStream) -> int:
    """Return the bytes per sample in the file: 24 bits are decoded to 32."""
    bits = re.search(r"pcm_[a-z](\d+)", track.codec_context.name)
    return int(bits[1]) // 8 if bits else 2
