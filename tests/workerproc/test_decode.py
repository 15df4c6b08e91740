"""Decoding: the same samples as faster-whisper's, sentences for people, and no way out of the file."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Callable, Optional

import numpy as np
import pytest

from tests.workerproc import recordings
from tests.workerproc.recordings import Clip, noise, tone, wav
from workerproc.audio import damage, decode, headers
from workerproc.audio.damage import Decoded
from workerproc.audio.decode import Sound
from workerproc.audio.pcm_file import Samples
from workerproc.process.errors import AudioRejected

MAX_S = 600.0


def decoded(path: Path, max_audio_s: float = MAX_S) -> Sound:
    with recordings.pcm_file() as pcm_file:
        return decode.decode(path, pcm_file, max_audio_s, lambda done_s, audio_s: None)


def samples_of(path: Path) -> tuple[Samples, Sound]:
    with recordings.pcm_file() as pcm_file:
        sound = decode.decode(path, pcm_file, MAX_S, lambda done_s, audio_s: None)
        return pcm_file.read(0, len(pcm_file)), sound


def rejection(path: Path, max_audio_s: float = MAX_S) -> str:
    with pytest.raises(AudioRejected) as caught:
        decoded(path, max_audio_s)
    return str(caught.value)


# --- undamaged


MAKERS: dict[str, Callable[[Path], Path]] = {
    "wav": lambda to: wav(to, noise(3.0)),
    "wav 8 kHz stereo": lambda to: wav(to, noise(3.0), rate_hz=8_000, channels=2),
    "wav 44.1 kHz": lambda to: wav(to, noise(65.0), rate_hz=44_100),
    "wav 24 bit": lambda to: recordings.wav_24_bit(to, noise(3.0)),
    "mp3": lambda to: recordings.encoded(to, "libmp3lame", "mp3", noise(3.0)),
    "ogg opus": lambda to: recordings.encoded(to, "libopus", "ogg", tone(3.0, 48_000), rate_hz=48_000),
    "flac": lambda to: recordings.encoded(to, "flac", "flac", noise(3.0)),
    "m4a": lambda to: recordings.encoded(to, "aac", "ipod", noise(3.0)),
    "one sample": lambda to: wav(to, noise(1.0)[:1]),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_samples_equal_faster_whispers_for_an_undamaged_file(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    from faster_whisper import decode_audio

    path = make(tmp_path / "audio")

    samples, sound = samples_of(path)

    theirs = decode_audio(str(path))
    assert samples.dtype == theirs.dtype
    assert np.array_equal(samples, theirs)
    assert sound.audio_s == len(theirs) / decode.RATE_HZ
    assert sound.warnings == ()


@pytest.mark.parametrize(
    "clip", recordings.samples() + recordings.human_clips(), ids=lambda clip: clip.path.name
)
def test_samples_equal_faster_whispers_for_speech(clip: Clip) -> None:
    from faster_whisper import decode_audio

    samples, sound = samples_of(clip.path)

    assert np.array_equal(samples, decode_audio(str(clip.path)))
    assert sound.warnings == ()


def test_progress_tells_seconds_decoded_of_seconds_announced(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []

    with recordings.pcm_file() as pcm_file:
        decode.decode(wav(tmp_path / "audio", tone(90.0)), pcm_file, MAX_S, lambda *facts: told.append(facts))

    assert [audio_s for _, audio_s in told] == [90.0] * len(told)
    assert sorted(told) == told
    assert told[-1] == (90.0, 90.0)
    assert len(told) > 2


# --- refused


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no audio file" in rejection(tmp_path / "audio")


def test_folder_is_refused(tmp_path: Path) -> None:
    assert "folder" in rejection(tmp_path)


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"Dear Sir or Madam, this is a letter.\n" * 50, "not an audio file"),
    "html": (b"<html><body>403 Forbidden</body></html>", "not an audio file"),
    "random": (np.random.default_rng(5).bytes(50_000), "."),
    "zeros": (bytes(50_000), "."),
    "header alone": (recordings.wav_header(0), "length of zero"),
    "header of a long file alone": (recordings.wav_header(1_000_000), "length of zero"),
    "half a header": (recordings.wav_header(1_000)[:30], "."),
    "no rate": (recordings.wav_header(4_000, rate_hz=0) + bytes(4_000), "."),
    "absurd rate": (recordings.wav_header(4_000, rate_hz=2_000_000_000) + bytes(4_000), "."),
    "no channels": (recordings.wav_header(4_000, channels=0) + bytes(4_000), "."),
    "absurd channels": (recordings.wav_header(4_000, channels=30_000) + bytes(4_000), "."),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_not_audio_is_refused_with_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "audio"
    path.write_bytes(data)

    sentence = rejection(path)

    assert re.search(words, sentence)
    assert len(sentence.split()) > 4
    assert str(tmp_path) not in sentence


def test_video_without_sound_is_refused(tmp_path: Path) -> None:
    assert "no audio in this file (it holds video)" in rejection(
        recordings.video_without_audio(tmp_path / "audio")
    )


def test_audio_longer_than_allowed_is_refused_by_what_it_announces(tmp_path: Path) -> None:
    sentence = rejection(wav(tmp_path / "audio", tone(12.0)), max_audio_s=10.0)

    assert "12 s long" in sentence
    assert "max_audio_s = 10" in sentence


def test_audio_longer_than_allowed_is_refused_while_decoding_where_it_announces_nothing(
    tmp_path: Path,
) -> None:
    # ADTS has no duration of its own and FFmpeg's guess from the bit rate is far too low for this file.
    path = recordings.encoded(tmp_path / "audio", "libopus", "ogg", tone(40.0, 48_000), rate_hz=48_000)
    data = path.read_bytes()
    cut = data.rfind(b"OggS")
    path.write_bytes(data[:cut])  # the last page carries the length

    assert "more than [spool] max_audio_s = 10" in rejection(path, max_audio_s=10.0)


def test_length_that_the_file_can_not_hold_is_not_believed(tmp_path: Path) -> None:
    path = recordings.encoded(tmp_path / "audio", "flac", "flac", tone(5.0))
    data = bytearray(path.read_bytes())
    data[22:26] = b"\xff\xff\xff\xff"  # the low half of STREAMINFO's count of samples: three days
    path.write_bytes(bytes(data))

    sound = decoded(path)

    assert sound.audio_s == pytest.approx(5.0, abs=0.1)
    assert "it was cut or damaged" in sound.warnings[0]


LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{other}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile other.wav\n",
    "concat by url": "ffconcat version 1.0\nfile 'file:{other}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    "<BaseURL>file://{other}</BaseURL></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS.keys())
def test_playlist_in_audios_clothing_opens_no_other_file(tmp_path: Path, text: str) -> None:
    other = wav(tmp_path / "other.wav", tone(2.0))
    path = tmp_path / "audio"
    path.write_text(text.format(other=other))

    assert rejection(path)


# --- damaged


def test_cut_wav_is_decoded_and_said_to_be_cut(tmp_path: Path) -> None:
    whole = wav(tmp_path / "whole", tone(30.0)).read_bytes()
    path = tmp_path / "audio"
    path.write_bytes(whole[: len(whole) // 3])

    sound = decoded(path)

    assert sound.audio_s == pytest.approx(10.0, abs=0.1)
    assert len(sound.warnings) == 1
    assert "holds 10.0 s of audio but announces 30.0 s" in sound.warnings[0]


def test_decoding_goes_on_behind_garbage_in_an_mp3(tmp_path: Path) -> None:
    """faster-whisper ends at the first bad packet: 60 s with 4 KB of garbage read "30.0 s, fine"."""
    from faster_whisper import decode_audio

    whole = recordings.encoded(tmp_path / "whole", "libmp3lame", "mp3", tone(60.0))
    path = recordings.with_garbage(tmp_path / "audio", whole, at_ratio=0.5)

    sound = decoded(path)

    assert sound.audio_s > 55.0
    assert sound.audio_s > len(decode_audio(str(path))) / decode.RATE_HZ
    assert re.search(r"\d+ of \d+ packets of audio are damaged", " ".join(sound.warnings))


@pytest.mark.parametrize(("codec", "container"), [("flac", "flac"), ("aac", "adts")])
def test_garbage_in_the_middle_costs_little_and_is_told(tmp_path: Path, codec: str, container: str) -> None:
    whole = recordings.encoded(tmp_path / "whole", codec, container, tone(60.0))
    path = recordings.with_garbage(tmp_path / "audio", whole, at_ratio=0.5, size_bytes=1_024)

    sound = decoded(path)

    assert sound.audio_s > 50.0
    assert sound.warnings


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Damage a file in one of the ways in which files get damaged."""
    new = bytearray(data)
    at, size = chance.randrange(len(new)), chance.randrange(20_000)
    kind = chance.choice(["flip", "head", "cut", "hole", "repeat"])
    if kind == "flip":
        for _ in range(chance.randint(1, 200)):
            new[chance.randrange(len(new))] ^= 1 << chance.randrange(8)
    elif kind == "head":
        for _ in range(chance.randint(1, 20)):
            new[chance.randrange(200)] = chance.randrange(256)
    elif kind == "cut":
        del new[at:]
    elif kind == "hole":
        del new[at : at + size]
    else:
        new[at:at] = new[:size]
    return bytes(new)


@pytest.mark.slow
@pytest.mark.parametrize("clip", recordings.samples(), ids=lambda clip: clip.path.name)
def test_any_damage_ends_in_samples_or_in_a_sentence(tmp_path: Path, clip: Clip) -> None:
    chance = random.Random(7)
    data = clip.path.read_bytes()
    endings = {"decoded": 0, "rejected": 0}

    for _ in range(15):
        (tmp_path / "audio").write_bytes(mutated(data, chance))
        try:
            assert decoded(tmp_path / "audio").audio_s
            endings["decoded"] += 1
        except AudioRejected:
            endings["rejected"] += 1

    assert endings["decoded"] > endings["rejected"]


def test_streamed_wav_of_unknown_length_is_no_damage(tmp_path: Path) -> None:
    for size in (0, 0xFFFFFFFF):
        path = tmp_path / f"audio-{size}"
        path.write_bytes(recordings.wav_header(size) + tone(2.0).tobytes())

        sound = decoded(path)

        assert (sound.audio_s, sound.warnings) == (2.0, ())


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Decoded(60.0, 60.0, 600, 0), []),
        (Decoded(59.1, 60.0, 600, 0), []),
        (Decoded(58.0, 60.0, 600, 0), ["announces 60.0 s"]),
        (Decoded(59.8, 60.0, 600, 0, is_exact=True), ["announces 60.0 s"]),
        (Decoded(59.99, 60.0, 600, 0, is_exact=True), []),
        (Decoded(60.0, None, 600, 0), []),
        (Decoded(60.0, 30.0, 600, 0), []),
        (Decoded(60.0, 60.0, 600, 3), ["3 of 600 packets"]),
        (Decoded(30.0, 60.0, 300, 1, broke_off=True), ["1 of 300", "beyond 30.0 s", "announces 60.0 s"]),
    ],
)
def test_damage_is_told_in_words(facts: Decoded, told: list[str]) -> None:
    sentences = list(damage.warnings(facts))

    assert len(sentences) == len(told)
    assert all(words in sentence for words, sentence in zip(told, sentences))


def test_wav_header_is_read_over_other_chunks_and_never_beyond_its_end() -> None:
    plain = recordings.wav_header(32_000)
    listed = plain[:36] + b"LIST" + (3).to_bytes(4, "little") + b"abc\0" + plain[36:]

    assert announced_s(plain, 32_044) == 1.0
    assert announced_s(listed, 32_056) == 1.0
    assert [announced_s(plain[:n], n) for n in range(44)] == [None] * 44
    assert announced_s(recordings.wav_header(0), 32_044) is None


def announced_s(head: bytes, file_bytes: int) -> Optional[float]:
    found = headers.wav_data(lambda at, count: head[at : at + count], file_bytes)
    return None if found is None else found.announced_s
