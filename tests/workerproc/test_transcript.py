"""The transcript and its formats, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workerproc.transcripts import formats, transcript
from workerproc.transcripts.transcript import Origin, Recognised, Segment, Word

ORIGIN = Origin(
    recording_id="r",
    user_id="u",
    device_id="d",
    model="base",
    transcribed_at="2026-11-22T13:21:41Z",
    attempt=2,
    engine={"faster-whisper": "1.2.1"},
    options={"beam_size": 5},
    warnings=("cut",),
    timings={"decode_s": 0.12345},
)
HEARD = Recognised(
    "en",
    61.234567,
    [
        Segment(1, 0.0, 2.345678, " One. ", -0.25, 0.01, 1.2, 0.0, (Word(0.104, 0.5, " One.", 0.98765),)),
        Segment(3, 60.0, 61.2, "Two  & <three>"),
    ],
    [30.5],
)


def test_transcript_has_rems_keys_first_and_ours_after_them() -> None:
    document = transcript.build(ORIGIN, HEARD)

    assert tuple(document)[: len(transcript.REM_KEYS)] == transcript.REM_KEYS
    assert document == {
        "recordingId": "r",
        "userId": "u",
        "deviceId": "d",
        "language": "en",
        "segments": [
            {
                "id": 1,
                "start": 0.0,
                "end": 2.35,
                "text": "One.",
                "confidence": 0.7788,
                "avgLogprob": -0.25,
                "noSpeechProb": 0.01,
                "compressionRatio": 1.2,
                "temperature": 0.0,
                "words": [{"start": 0.1, "end": 0.5, "word": "One.", "probability": 0.9877}],
            },
            {
                "id": 3,
                "start": 60.0,
                "end": 61.2,
                "text": "Two  & <three>",
                "confidence": 1.0,
                "avgLogprob": 0.0,
                "noSpeechProb": 0.0,
                "compressionRatio": 0.0,
                "temperature": 0.0,
            },
        ],
        "fullText": "One. Two  & <three>",
        "durationSeconds": 61.23,
        "transcribedAt": "2026-11-22T13:21:41Z",
        "whisperModel": "base",
        "engine": {"faster-whisper": "1.2.1"},
        "options": {"beam_size": 5},
        "warnings": ["cut"],
        "attempts": 2,
        "resumedFrom": 0.0,
        "cuts": [30.5],
        "timings": {"decode_s": 0.123},
    }


def test_no_speech_is_a_whole_transcript_with_empty_text() -> None:
    document = transcript.build(ORIGIN, Recognised(None, 5.0, []))

    assert (document["segments"], document["fullText"], document["durationSeconds"]) == ([], "", 5.0)


SRT = """1
00:00:00,000 --> 00:00:02,350
One.

2
00:01:00,000 --> 00:01:01,200
Two & <three>
"""
VTT = """WEBVTT

00:00:00.000 --> 00:00:02.350
One.

00:01:00.000 --> 00:01:01.200
Two &amp; &lt;three&gt;
"""
TSV = "start\tend\ttext\n0\t2350\tOne.\n60000\t61200\tTwo & <three>\n"


@pytest.mark.parametrize(
    ("form", "text"), [("srt", SRT), ("vtt", VTT), ("tsv", TSV), ("txt", "One. Two  & <three>")]
)
def test_each_format_is_written_as_its_readers_expect(form: str, text: str) -> None:
    assert formats.FORMATS[form](transcript.build(ORIGIN, HEARD)) == text


def test_json_can_be_read_back_and_keeps_every_script() -> None:
    document = transcript.build(ORIGIN, Recognised("ja", 1.0, [Segment(1, 0, 1, "こんにちは")]))

    text = formats.to_json(document)

    assert json.loads(text) == document
    assert "こんにちは" in text


@pytest.mark.parametrize(
    ("form", "text"), [("srt", ""), ("vtt", "WEBVTT\n"), ("tsv", "start\tend\ttext\n"), ("txt", "")]
)
def test_empty_transcript_is_a_valid_file_in_each_format(form: str, text: str) -> None:
    assert formats.FORMATS[form](transcript.build(ORIGIN, Recognised("en", 1.0, []))) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "00:00:00,000"),
        (0.9996, "00:00:01,000"),
        (59.9994, "00:00:59,999"),
        (3_661.5, "01:01:01,500"),
        (360_000.0, "100:00:00,000"),
        (-0.5, "00:00:00,000"),
    ],
)
def test_times_are_rounded_once_and_carried_over(seconds: float, text: str) -> None:
    assert formats.clock_time(seconds, ",") == text


@pytest.mark.parametrize("form", ["srt", "vtt", "tsv"])
def test_no_text_can_break_out_of_its_cue(form: str) -> None:
    text = "first\n\n00:00:01.000 --> 00:00:02.000\nsecond\tthird"
    document: dict[str, Any] = transcript.build(ORIGIN, Recognised("en", 9.0, [Segment(1, 0.0, 1.0, text)]))

    written = formats.FORMATS[form](document)

    assert written.count("-->") == 1  # the cue's own; in tsv, where it means nothing, the text's
    assert "first\n" not in written
    assert written.count("\t") == (4 if form == "tsv" else 0)
