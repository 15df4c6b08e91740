"""Decodes an audio file to a PCM file of 16 kHz mono samples, packet by packet.

Uses PyAV (FFmpeg's libraries in a wheel), not an ffmpeg binary. For an undamaged file the samples equal those
of `faster_whisper.decode_audio`. In a damaged file decoding continues after a bad packet, where
faster-whisper's silently ends.

FFmpeg reads from a file object, with all protocols disabled: a playlist sent as audio would otherwise make
FFmpeg open the files and addresses that it names.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

import av
import av.error
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from workerproc.audio import damage, headers, loudness, tracks
from workerproc.audio.audio_file import AudioFile, AudioReader, look_at
from workerproc.audio.downmix import without_cancelling
from workerproc.audio.pcm_file import RATE_HZ, Pcm, PcmFile
from workerproc.audio.timeline import Timeline
from workerproc.process.errors import AudioRejected

OnProgress = Callable[[float, float], None]  # (seconds decoded, seconds in total or 0 where unknown)

_GROUP_SAMPLES = 500_000  # as faster-whisper groups frames before it resamples them
_GROUP_VALUES = 4_000_000  # of all channels together; reached first with more than eight channels
# After this many consecutive errors without a readable packet, decoding ends.
_MAX_ERRORS_IN_A_ROW = 100
_SILENT_BELOW = 33  # of 32,768: a track that is never louder contains no speech
_LEAST_BYTES_PER_S = (
    20  # silence in FLAC or Opus takes more; a longer announced length is not used for progress
)
_SIZED = frozenset({"aiff", "caf", "w64"})  # FFmpeg reads them no further than their headers say
_EXACT_S = 0.02  # less than this is padding
# FFmpeg would also decode a cover image while probing, which can take gigabytes.
_ONLY_AUDIO = ",".join(sorted(name for name in av.codecs_available if tracks.is_audio_decoder(name)))


@dataclass(frozen=True)
class Sound:
    """Length of a decoded recording, and warnings about it."""

    audio_s: float
    warnings: tuple[str, ...]


@dataclass
class _Tally:
    scale: float  # gain applied to each sample
    peak: float = 0.0  # before the gain; full scale is 1
    packets: int = 0
    end_at_bytes: int = 0  # end of the last packet
    bad_packets: int = 0
    broke_off: bool = False
    filled_s: float = 0.0  # gaps in the timestamps
    cancelled_s: float = 0.0  # where a single channel was used


class _Forward:
    """A file that cannot be seeked."""

    def __init__(self, opened: AudioReader) -> None:
        self.read = opened.read


def decode(path: Path, pcm_file: PcmFile, max_audio_s: float, on_progress: OnProgress) -> Sound:
    """Decode a file into an empty PCM file. Raises `AudioRejected`, whose message is for users, or OSError.

    `on_progress` is called after each packet; an exception that it raises ends decoding.
    """
    file = look_at(path)
    count, number, scale = 1, 0, 1.0
    while True:
        tally = _Tally(scale)
        with AudioReader(io.FileIO(path)) as opened, _opened(opened, file) as container:
            found = tracks.in_order(container)
            count = len(found)
            warnings = list(
                _decode_track(container, found[number], file, pcm_file, max_audio_s, on_progress, tally)
            )
        if pcm_file.peak <= _SILENT_BELOW and number + 1 < count:
            number, scale = number + 1, 1.0
        elif scale == 1.0 and loudness.scale_for(tally.peak):
            scale = loudness.scale_for(tally.peak) or 1.0
        else:
            break
        pcm_file.clear()
    if scale != 1.0:
        warnings.append(loudness.warning(tally.peak, scale))
    # The resampler keeps memory until its reference cycle is collected (SYSTRAN/faster-whisper#390).
    gc.collect()
    return Sound(pcm_file.length_s, (*warnings, *_of_tracks(count, number)))


def _decode_track(
    container: InputContainer,
    track: AudioStream,
    file: AudioFile,
    pcm_file: PcmFile,
    max_audio_s: float,
    on_progress: OnProgress,
    tally: _Tally,
) -> Iterator[str]:
    """Decode one track into the PCM file; yield warnings about it. Raises `AudioRejected`."""
    stated = tracks.length(container, track, file.head, file.wav)
    announced_s = None if file.missed_s else stated.seconds
    expected_s = announced_s if announced_s and announced_s * _LEAST_BYTES_PER_S < file.size_bytes else 0.0
    _check_length(file, max_audio_s)
    timeline = Timeline(tracks.zero_s(container, file.head))
    for chunk in _on_time(_frames(container, track, file.head, tally), tally, timeline):
        if isinstance(chunk, float):
            pcm_file.append_silence(min(chunk, max(0.0, max_audio_s - pcm_file.length_s) + 1.0))
        else:
            pcm_file.append(chunk)
        if pcm_file.length_s > max_audio_s:
            raise AudioRejected(_too_long(pcm_file.length_s, max_audio_s, "at least "))
        on_progress(pcm_file.length_s, max(expected_s, pcm_file.length_s) if expected_s else 0.0)
    audio_s = pcm_file.length_s
    if not audio_s:
        if tally.bad_packets:
            raise AudioRejected(f"none of the {tally.packets} packets of audio in this file can be decoded")
        raise AudioRejected("the audio has a length of zero: a header and nothing after it")
    facts = damage.Decoded(
        audio_s,
        announced_s,
        tally.packets,
        tally.bad_packets,
        tally.broke_off,
        stated.is_exact,
        tally.filled_s,
        sum(timeline.jumps_s),
        _missing_bytes(file, audio_s),
    )
    yield from damage.warnings(facts)
    yield from _beside_damage(container.format.name, file, tally, timeline, audio_s)


def _beside_damage(
    name: str, file: AudioFile, tally: _Tally, timeline: Timeline, audio_s: float
) -> Iterator[str]:
    """Yield warnings where the transcript covers more or less than the header announces, or one channel."""
    if file.missed_s:
        yield (
            f"the header of this WAV file announces {file.announced_s:.1f} s of audio, "
            f"the file holds {audio_s:.1f} s: all of it was transcribed"
        )
    left_bytes = _left_out_bytes(name, file, tally.end_at_bytes, audio_s)
    if left_bytes:
        yield (
            f"the file holds {left_bytes} bytes behind the {audio_s:.1f} s of audio that it announces: "
            "they were left out"
        )
    if tally.cancelled_s:
        yield (
            f"the channels cancel each other out for {tally.cancelled_s:.0f} s: "
            "one channel alone was transcribed there"
        )
    for jump_s in timeline.jumps_s[:1]:
        yield f"the file's time stamps jump by {jump_s:.0f} s: what follows is timed as if they did not"


def _missing_bytes(file: AudioFile, audio_s: float) -> int:
    """Count the bytes that are missing at the end of the file, by its header."""
    missing_bytes = max(0, (file.end_bytes or 0) - file.size_bytes)
    return missing_bytes if missing_bytes / file.size_bytes * audio_s > _EXACT_S else 0


def _left_out_bytes(name: str, file: AudioFile, end_at_bytes: int, audio_s: float) -> int:
    """Count the bytes that players of this format ignore, where they may be a second of audio or more."""
    if name not in _SIZED:
        # FFmpeg may continue from one fragmented file into the appended one.
        return file.second_bytes if end_at_bytes <= file.size_bytes - file.second_bytes else 0
    unread_bytes = _unread_bytes(file, end_at_bytes)
    return unread_bytes if unread_bytes / end_at_bytes * audio_s > 1.0 else 0


def _unread_bytes(file: AudioFile, end_at_bytes: int) -> int:
    """Count the bytes after the last samples, unless they are padding or another chunk."""
    with file.path.open("rb") as opened:
        opened.seek(file.begins_at_bytes + end_at_bytes)
        behind = opened.read(headers.TAIL_BYTES)
    is_other = not any(behind) or headers.is_chunk_name(behind[:4])
    return 0 if is_other else file.size_bytes - end_at_bytes


def _of_tracks(count: int, number: int) -> Iterator[str]:
    if number:
        yield f"the first {number} audio tracks of {count} are silent: the next one was transcribed"
    elif count > 1:
        yield f"the file has {count} audio tracks: only the one that a player chooses was transcribed"


def _opened(opened: AudioReader, file: AudioFile) -> InputContainer:
    opened.begins_at_bytes, opened.filled = file.begins_at_bytes, file.filled
    opened.seek(0)
    options = {"protocol_whitelist": "none", "codec_whitelist": _ONLY_AUDIO}
    if file.missed_s or file.is_endless:
        options["ignore_length"] = "1"  # option of the WAV demuxer
    try:
        return av.open(
            # If FFmpeg can seek, it starts with the last of several data chunks.
            _Forward(opened) if file.missed_s else opened,
            mode="r",
            # Some recorders write metadata in other encodings; that must not reject the file.
            metadata_errors="ignore",
            # `options` are passed to the tracks too; with them PyAV 15 crashes the process on an FLV file.
            container_options=options,
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioRejected(f"this is not an audio file that FFmpeg can read ({_reason(error)})") from error


def _check_length(file: AudioFile, max_audio_s: float) -> None:
    """Reject a file that is too long by the size of its samples, before it is decoded."""
    wav = file.wav
    if wav is None or not wav.is_exact:
        return
    held_bytes = file.size_bytes - wav.begins_at_bytes
    if wav.size_bytes is not None and not file.missed_s:
        held_bytes = min(held_bytes, wav.size_bytes)
    if held_bytes / wav.bytes_per_s > max_audio_s:
        raise AudioRejected(_too_long(held_bytes / wav.bytes_per_s, max_audio_s))


def _too_long(audio_s: float, max_audio_s: float, at_least: str = "") -> str:
    limit = f"[spool] max_audio_s = {max_audio_s:.0f}"
    return f"the audio is {at_least}{audio_s:.0f} s long, more than {limit} allows"


def _frames(
    container: InputContainer, track: AudioStream, head: bytes, tally: _Tally
) -> Iterator[AudioFrame]:
    """Give every frame that can be decoded, on and on behind those that can't."""
    decoder = tracks.decoder(track, head)
    errors_in_a_row = 0
    while True:
        try:
            for packet in container.demux(track):
                tally.packets += 1 if packet.size else 0  # the last one is empty: it flushes the decoder
                if not packet.is_discard:  # read, but not decoded
                    tally.end_at_bytes = max(tally.end_at_bytes, (packet.pos or 0) + packet.size)
                try:
                    yield from decoder.decode(packet)
                    errors_in_a_row = 0
                except av.error.EOFError:
                    return
                except MemoryError:
                    raise
                except av.error.FFmpegError:
                    # An ID3 tag between two MP3 files is not audio, nor is the frame count after it.
                    tally.bad_packets += 0 if bytes(packet)[:3] == b"ID3" else 1
            return
        except MemoryError:
            raise
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            # An error of the demuxer; the next call looks for the next packet.
            errors_in_a_row += 1
            if errors_in_a_row >= _MAX_ERRORS_IN_A_ROW:
                tally.broke_off = True
                return


def _on_time(frames: Iterator[AudioFrame], tally: _Tally, timeline: Timeline) -> Iterator[Union[Pcm, float]]:
    """Convert frames to 16 kHz mono; yield seconds of silence (a float) where timestamps have a gap.

    Frames are grouped as in faster-whisper: only equal groups give equal samples.
    """
    shape: Any = None
    group, resampler = AudioFifo(), _resampler()
    for frame in frames:
        stamp_s = frame.time
        gap_s = timeline.silence_before(stamp_s)
        new_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape is not None and (new_shape != shape or gap_s):
            # The format may change within a chained file (one stream after another).
            yield from _flushed(group, resampler, tally)
            group, resampler = AudioFifo(), _resampler()
        shape = new_shape
        if gap_s:
            tally.filled_s += gap_s
            yield gap_s
        timeline.add(stamp_s, frame.samples / frame.sample_rate)
        frame.pts = None  # after a gap the FIFO would reject the timestamps
        group.write(frame)
        if group.samples >= _GROUP_SAMPLES or group.samples * frame.layout.nb_channels > _GROUP_VALUES:
            yield from _pieces(resampler, group.read(), tally)
    if shape is not None:
        yield from _flushed(group, resampler, tally)


def _resampler() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=RATE_HZ)


def _flushed(group: AudioFifo, resampler: AudioResampler, tally: _Tally) -> Iterator[Pcm]:
    if group.samples:
        yield from _pieces(resampler, group.read(), tally)
    yield from _pieces(resampler, None, tally)


def _pieces(resampler: AudioResampler, frame: Optional[AudioFrame], tally: _Tally) -> Iterator[Pcm]:
    try:
        if frame is not None:
            tally.peak = max(tally.peak, loudness.peak(frame))
            if tally.scale != 1.0:
                frame = loudness.scaled(frame, tally.scale)
            frame, cancelled_s = without_cancelling(frame)
            tally.cancelled_s += cancelled_s
        pieces = resampler.resample(frame)
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise AudioRejected(f"the audio can't be turned into 16 kHz mono ({_reason(error)})") from error
    for piece in pieces:
        yield piece.to_ndarray()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0][:120]
