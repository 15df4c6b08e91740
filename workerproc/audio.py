"""From a file to a tape of 16 kHz mono samples: probe, refuse, decode packet by packet.

Uses PyAV (FFmpeg's libraries in a wheel), never an ffmpeg binary. For an undamaged file
the samples equal `faster_whisper.decode_audio`'s, so that texts can be compared; for a
damaged one decoding goes on behind the bad packet, where faster-whisper's ends in silence.

The file is handed to FFmpeg as an open file, with every protocol of its own switched off:
a playlist or a list of files, sent in as audio, would otherwise make FFmpeg open whatever it names.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional

import av
import av.error
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from workerproc import damage
from workerproc.errors import AudioRejected
from workerproc.tape import RATE_HZ, Pcm, Tape

Tell = Callable[[float, float], None]  # seconds decoded, seconds in all (0: unknown)

_GROUP_SAMPLES = 500_000  # as faster-whisper groups frames before it resamples them
_MAX_RATE_HZ = 768_000
_MAX_CHANNELS = 64
_EXACT_FORMATS = frozenset({"wav", "flac", "aiff", "w64", "au"})
_LOWEST_BITS_PER_S = 400  # below every speech codec; FLAC's silence at 16 kHz takes more
# So many errors in a row without one readable packet between them: there is nothing more to come.
_MAX_ERRORS_IN_A_ROW = 100


@dataclass(frozen=True)
class Sound:
    """How long a decoded recording is and what was wrong with it."""

    audio_s: float
    warnings: tuple[str, ...]


@dataclass
class _Tally:
    packets: int = 0
    bad_packets: int = 0
    broke_off: bool = False


def decode(path: Path, tape: Tape, max_audio_s: float, tell: Tell) -> Sound:
    """Decode a file onto an empty tape. Raises `AudioRejected` with a sentence for people, or OSError.

    `tell` is called after each packet; what it raises ends the decoding.
    """
    head = _read_head(path)
    with path.open("rb") as file, _opened(file) as container:
        announced_s = _announced_s(container)
        is_exact = container.format.name in _EXACT_FORMATS
        _check(container, announced_s, max_audio_s, path.stat().st_size)
        tally = _Tally()
        for chunk in _resampled(_frames(container, tally)):
            tape.append(chunk)
            if tape.length_s > max_audio_s:
                raise AudioRejected(_too_long(tape.length_s, max_audio_s, "at least "))
            tell(tape.length_s, announced_s or 0.0)
    # The resampler holds memory until its cycle is collected (SYSTRAN/faster-whisper#390).
    gc.collect()
    return _sound(tape, tally, damage.wav_announced_s(head) or announced_s, is_exact)


def _sound(tape: Tape, tally: _Tally, announced_s: Optional[float], is_exact: bool) -> Sound:
    audio_s = tape.length_s
    if not audio_s:
        if tally.bad_packets:
            raise AudioRejected(f"none of the {tally.packets} packets of audio in this file can be decoded")
        raise AudioRejected("the audio has a length of zero: a header and nothing after it")
    facts = damage.Decoded(audio_s, announced_s, tally.packets, tally.bad_packets, tally.broke_off, is_exact)
    return Sound(audio_s, tuple(damage.warnings(facts)))


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(damage.HEAD_BYTES)
    except FileNotFoundError:
        raise AudioRejected("there is no audio file: it was not fetched, or it was removed") from None
    except IsADirectoryError:
        raise AudioRejected("the audio is a folder, not a file") from None
    if not head:
        raise AudioRejected("the audio file is empty (0 bytes)")
    return head


def _opened(file: BinaryIO) -> InputContainer:
    try:
        return av.open(
            file,
            mode="r",
            # Some recorders write their names in other encodings; that is no reason to refuse speech.
            metadata_errors="ignore",
            options={"protocol_whitelist": "none"},
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioRejected(f"this is not an audio file that FFmpeg can read ({_reason(error)})") from error


def _announced_s(container: InputContainer) -> Optional[float]:
    stream = container.streams.audio[0] if container.streams.audio else None
    if stream is not None and stream.duration is not None and stream.time_base is not None:
        announced_s = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        announced_s = container.duration / av.time_base
    else:
        return None
    return announced_s if announced_s > 0 else None


def _check(
    container: InputContainer, announced_s: Optional[float], max_audio_s: float, file_bytes: int
) -> None:
    """Refuse what can't be transcribed, before work is spent on it."""
    if not container.streams.audio:
        kinds = sorted({str(stream.type) for stream in container.streams}) or ["nothing"]
        raise AudioRejected(f"there is no audio in this file (it holds {', '.join(kinds)})")
    # A stream whose codec FFmpeg does not know has no context, whatever the annotation says.
    codec: Any = container.streams.audio[0].codec_context
    if codec is None:
        raise AudioRejected("the audio in this file is in a format that FFmpeg does not know")
    if not 1 <= codec.sample_rate <= _MAX_RATE_HZ:
        raise AudioRejected(
            f"the file claims a sampling rate of {codec.sample_rate} Hz: its header is damaged"
        )
    if not 1 <= codec.channels <= _MAX_CHANNELS:
        raise AudioRejected(f"the file claims {codec.channels} channels: its header is damaged")
    # A damaged header may announce a year: what the file can't hold is left to the decoder's own limit.
    can_hold_s = file_bytes * 8 / _LOWEST_BITS_PER_S
    if announced_s is not None and max_audio_s < announced_s <= can_hold_s:
        raise AudioRejected(_too_long(announced_s, max_audio_s))


def _too_long(audio_s: float, max_audio_s: float, at_least: str = "") -> str:
    limit = f"[spool] max_audio_s = {max_audio_s:.0f}"
    return f"the audio is {at_least}{audio_s:.0f} s long, more than {limit} allows"


def _frames(container: InputContainer, tally: _Tally) -> Iterator[AudioFrame]:
    """Give every frame that can be decoded, on and on behind those that can't."""
    stream = container.streams.audio[0]
    errors_in_a_row = 0
    while True:
        try:
            for packet in container.demux(stream):
                tally.packets += 1 if packet.size else 0  # the last one is empty: it flushes the decoder
                try:
                    yield from packet.decode()
                    errors_in_a_row = 0
                except av.error.EOFError:
                    return
                except MemoryError:
                    raise
                except av.error.FFmpegError:
                    tally.bad_packets += 1
            return
        except MemoryError:
            raise
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            # The demuxer itself stumbled; asked again it looks for the next packet.
            errors_in_a_row += 1
            if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                tally.broke_off = True
                return


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[Pcm]:
    """Turn frames into 16 kHz mono, in groups as faster-whisper does: equal samples need equal groups."""
    shape: Any = None
    group, resampler = AudioFifo(), _resampler()
    for frame in frames:
        frame.pts = None  # after a gap the stamps would be refused
        new_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape is not None and new_shape != shape:
            # A chained file (one stream after another) may change its format half-way.
            yield from _flushed(group, resampler)
            group, resampler = AudioFifo(), _resampler()
        shape = new_shape
        group.write(frame)
        if group.samples >= _GROUP_SAMPLES:
            yield from _pieces(resampler, group.read())
    if shape is not None:
        yield from _flushed(group, resampler)


def _resampler() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=RATE_HZ)


def _flushed(group: AudioFifo, resampler: AudioResampler) -> Iterator[Pcm]:
    if group.samples:
        yield from _pieces(resampler, group.read())
    yield from _pieces(resampler, None)


def _pieces(resampler: AudioResampler, frame: Optional[AudioFrame]) -> Iterator[Pcm]:
    try:
        pieces = resampler.resample(frame)
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioRejected(f"the audio can't be turned into 16 kHz mono ({_reason(error)})") from error
    for piece in pieces:
        yield piece.to_ndarray()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0][:120]
