"""Bad and odd recordings, made here: what devices, editors, attackers and broken uploads send.

Each maker writes one file and says nothing of what should become of it: that is one promise
for all, in `test_corpus.py`. Sizes are small; what is huge is only announced.
"""

from __future__ import annotations

import gzip
import io
import struct
import wave
import zipfile
from pathlib import Path
from typing import Any, Callable

import av
import numpy as np

from tests.workerproc import recordings
from tests.workerproc.recordings import (
    RATE_HZ,
    SAMPLES,
    encoded,
    noise,
    silence,
    tone,
    wav,
    wav_header,
)

Make = Callable[[Path], Any]


def written(data: bytes) -> Make:
    return lambda to: to.write_bytes(data)


def speech(seconds: float = 3.0) -> Any:
    """The beginning of a shipped sample, as numbers."""
    with wave.open(str(SAMPLES / "harbour.wav")) as file:
        count = int(seconds * file.getframerate())
        return np.frombuffer(file.readframes(count), dtype="<i2")


def wav_bytes(pcm: Any, rate_hz: int = RATE_HZ) -> bytes:
    return wav_header(len(pcm) * 2, rate_hz) + pcm.astype("<i2").tobytes()


def cut(source: str, ratio: float) -> Make:
    data = (SAMPLES / source).read_bytes()
    return written(data[: int(len(data) * ratio)])


def without_start(source: str, count: int) -> Make:
    return written((SAMPLES / source).read_bytes()[count:])


def flipped(source: str, seed: int, every: int) -> Make:
    """Turn single bytes over, all along the first quarter minute."""
    data = bytearray((SAMPLES / source).read_bytes()[:150_000])
    chance = np.random.default_rng(seed)
    for at in range(64, len(data), every):
        data[at] ^= int(chance.integers(1, 256))
    return written(bytes(data))


def wav_of(format_tag: int, bits: int, data: bytes, channels: int = 1, rate_hz: int = RATE_HZ) -> bytes:
    """A WAV of any coding, rightly announced."""
    block = channels * bits // 8
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, format_tag,
                       channels, rate_hz, rate_hz * block, block, bits)  # fmt: skip
    return head + struct.pack("<4sI", b"data", len(data)) + data


def chunk_that_never_ends() -> bytes:
    """An odd chunk before the data that says it is 4 GiB long."""
    whole = wav_bytes(speech(2.0))
    return whole[:36] + struct.pack("<4sI", b"LIST", 0xFFFFFFF0) + whole[36:]


def many_empty_chunks() -> bytes:
    whole = wav_bytes(speech(2.0))
    return whole[:12] + struct.pack("<4sI", b"junk", 0) * 20_000 + whole[12:]


def rf64() -> bytes:
    """A 64-bit WAV whose true size stands in ds64: here it says 16 exabytes."""
    data = speech(2.0).tobytes()
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 2**64 - 1, 2**64 - 1, 2**63, 0)
    form = wav_header(0)[12:36]
    head = b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + sizes
    return head + form + struct.pack("<4sI", b"data", 0xFFFFFFFF) + data


def mp4_that_claims_a_century(to: Path) -> None:
    """A real M4A whose header announces some hundred years."""
    encoded(to, "aac", "ipod", noise(2.0))
    data = bytearray(to.read_bytes())
    at = data.find(b"mvhd")
    struct.pack_into(">I", data, at + 20, 0xFFFFFFF0)  # duration, in units of the time scale before it
    struct.pack_into(">I", data, at + 16, 1)
    to.write_bytes(bytes(data))


def flac_that_claims_days(to: Path) -> None:
    """A FLAC whose STREAMINFO says 2**36 - 1 samples: 49 days."""
    encoded(to, "flac", "flac", tone(1.0))
    data = bytearray(to.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    to.write_bytes(bytes(data))


def video_with_sound(to: Path) -> None:
    with av.open(str(to), "w", format="matroska") as output:
        picture: Any = output.add_stream("mpeg4", rate=5)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        sound: Any = output.add_stream("aac", rate=RATE_HZ)
        sound.layout = "mono"
        for shade in range(10):
            frame = np.full((64, 64, 3), shade * 20, dtype=np.uint8)
            output.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(picture.encode(None))
        pcm = av.AudioFrame.from_ndarray(
            speech(2.0).astype("<i2").reshape(1, -1), format="s16", layout="mono"
        )
        pcm.sample_rate = RATE_HZ
        resampler = av.AudioResampler(
            format=sound.codec_context.format, layout="mono", rate=RATE_HZ, frame_size=1024
        )
        for piece in [*resampler.resample(pcm), *resampler.resample(None)]:
            output.mux(sound.encode(piece))
        output.mux(sound.encode(None))


def zipped() -> bytes:
    store = io.BytesIO()
    with zipfile.ZipFile(store, "w") as archive:
        archive.writestr("audio.wav", wav_bytes(tone(1.0)))
    return store.getvalue()


def quiet(ratio: float) -> Any:
    return (speech(2.0).astype(float) * ratio).astype(np.int16)


def loud(pcm: Any) -> Any:
    return np.clip(pcm.astype(np.int32) * 60, -32_768, 32_767).astype(np.int16)


CORPUS: dict[str, Make] = {
    # nothing, or next to nothing
    "empty": written(b""),
    "one byte": written(b"R"),
    "header alone": written(wav_header(0)),
    "header of an hour, no samples": written(wav_header(RATE_HZ * 2 * 3_600)),
    "half a header": written(wav_header(1_000)[:30]),
    "half a sample": written(wav_header(1) + b"\x01"),
    "one sample": lambda to: wav(to, noise(1.0)[:1]),
    "ten milliseconds": lambda to: wav(to, speech(0.01)),
    # not audio
    "letter named .wav": written(b"Dear Sir or Madam, this is no recording.\n" * 100),
    "web page": written(b"<!doctype html><html><body>403 Forbidden</body></html>"),
    "JSON": written(b'{"recordingId": "rec-1", "segments": []}' * 50),
    "random bytes": written(np.random.default_rng(5).bytes(60_000)),
    "zeros": written(bytes(60_000)),
    "zip with a WAV in it": written(zipped()),
    "gzipped WAV": written(gzip.compress(wav_bytes(tone(1.0)))),
    "PNG": written(b"\x89PNG\r\n\x1a\n" + bytes(2_000)),
    "ELF program": written(b"\x7fELF\x02\x01\x01" + bytes(2_000)),
    "video without sound": recordings.video_without_audio,
    # lies about itself
    "no rate": written(wav_header(4_000, rate_hz=0) + bytes(4_000)),
    "rate of 2 GHz": written(wav_header(4_000, rate_hz=2_000_000_000) + bytes(4_000)),
    "rate of 1 Hz": written(wav_header(400, rate_hz=1) + bytes(400)),
    "no channels": written(wav_header(4_000, channels=0) + bytes(4_000)),
    "30,000 channels": written(wav_header(4_000, channels=30_000) + bytes(4_000)),
    "says 2 GiB, holds 2 s": written(wav_header(0x7FFFFFFF) + speech(2.0).tobytes()),
    "says less than it holds": written(wav_header(1_000) + speech(2.0).tobytes()),
    "RF64 that says 16 exabytes": written(rf64()),
    "chunk that never ends": written(chunk_that_never_ends()),
    "20,000 empty chunks": written(many_empty_chunks()),
    "M4A that claims a century": mp4_that_claims_a_century,
    "FLAC that claims 49 days": flac_that_claims_days,
    "unknown coding": written(wav_of(0x4242, 16, tone(1.0).tobytes())),
    "WAV that says it is MP3": written(wav_of(0x55, 16, tone(1.0).tobytes())),
    # points elsewhere
    "ffconcat of /etc/hostname": written(b"ffconcat version 1.0\nfile /etc/hostname\n"),
    "ffconcat of itself": written(b"ffconcat version 1.0\n" + b"file audio\n" * 50),
    "HLS playlist": written(b"#EXTM3U\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"),
    "HLS playlist of the metadata service": written(
        b"#EXTM3U\n#EXTINF:9,\nhttp://169.254.169.254/latest/meta-data/\n#EXT-X-ENDLIST\n"
    ),
    "DASH manifest": written(b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'),
    "SDP": written(
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    ),
    # damaged
    "WAV cut in the middle": cut("harbour.wav", 0.3),
    "WAV cut at an odd byte": written(wav_bytes(speech(2.0))[:-1]),
    "MP3 cut": cut("soup.mp3", 0.2),
    "MP3 without its beginning": written((SAMPLES / "soup.mp3").read_bytes()[1_001:40_000]),
    "Ogg cut": cut("lighthouse.ogg", 0.05),
    "Ogg without its headers": written((SAMPLES / "lighthouse.ogg").read_bytes()[5_000:40_000]),
    "MP3 with bytes turned over": flipped("soup.mp3", seed=1, every=997),
    "Ogg with bytes turned over": flipped("lighthouse.ogg", seed=2, every=4_999),
    "WAV with garbage in it": lambda to: recordings.with_garbage(to, SAMPLES / "harbour.wav", 0.3),
    "two WAVs end to end": written(wav_bytes(speech(2.0)) * 2),
    # unusual, but sound
    "silence": lambda to: wav(to, silence(3.0)),
    "noise": lambda to: wav(to, noise(3.0)),
    "a tone": lambda to: wav(to, tone(3.0)),
    "a constant": lambda to: wav(to, np.full(RATE_HZ * 2, 32_767, dtype=np.int16)),
    "speech nearly too quiet": lambda to: wav(to, quiet(0.002)),
    "speech far too loud": lambda to: wav(to, loud(speech(2.0))),
    "8 kHz": lambda to: wav(to, speech(3.0)[::2], rate_hz=8_000),
    "192 kHz": lambda to: wav(to, np.repeat(speech(2.0), 12), rate_hz=192_000),
    "11,025 Hz": lambda to: wav(to, speech(2.0), rate_hz=11_025),
    "stereo": lambda to: wav(to, np.repeat(speech(2.0), 2), channels=2),
    "eight channels": lambda to: wav(to, np.repeat(speech(2.0), 8), channels=8),
    "24 bit": lambda to: recordings.wav_24_bit(to, speech(2.0)),
    "8 bit": written(wav_of(1, 8, ((speech(2.0) >> 8) + 128).astype(np.uint8).tobytes())),
    "32-bit float": written(wav_of(3, 32, (speech(2.0) / 32_768).astype("<f4").tobytes())),
    "float that is not a number": written(wav_of(3, 32, np.full(RATE_HZ, np.nan, dtype="<f4").tobytes())),
    "float that is infinite": written(wav_of(3, 32, np.full(RATE_HZ, np.inf, dtype="<f4").tobytes())),
    "64-bit float, huge": written(wav_of(3, 64, np.full(RATE_HZ, 1e300, dtype="<f8").tobytes())),
    "mu-law": written(wav_of(7, 8, np.random.default_rng(3).bytes(RATE_HZ))),
    "video with sound": video_with_sound,
    "Opus in Ogg": lambda to: encoded(to, "libopus", "ogg", tone(2.0, 48_000), rate_hz=48_000),
    "M4A": lambda to: encoded(to, "aac", "ipod", speech(2.0).astype(np.int16)),
}  # fmt: skip
