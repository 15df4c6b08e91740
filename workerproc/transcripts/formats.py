"""Converts a transcript to txt, json, srt, vtt or tsv. PURE.

The input is a transcript as built by `transcript.build`, or read back from JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable

from supervisor.contract.job_folder import TRANSCRIPT_FORMATS


def to_json(transcript: Mapping[str, Any]) -> str:
    """Return the transcript as JSON, as it is stored."""
    return json.dumps(transcript, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def to_txt(transcript: Mapping[str, Any]) -> str:
    """Return only the full text: REM's `.txt` object."""
    return str(transcript["fullText"])


def to_srt(transcript: Mapping[str, Any]) -> str:
    """Return SubRip subtitles: numbered from 1, with a comma before the milliseconds."""
    cues = [
        f"{number}\n{_span(segment, ',')}\n{_cue_text(segment)}\n"
        for number, segment in enumerate(transcript["segments"], 1)
    ]
    return "\n".join(cues)


def to_vtt(transcript: Mapping[str, Any]) -> str:
    """Return WebVTT, with markup characters escaped."""
    cues = [f"{_span(segment, '.')}\n{_escaped(_cue_text(segment))}\n" for segment in transcript["segments"]]
    return "\n".join(["WEBVTT\n", *cues])


def to_tsv(transcript: Mapping[str, Any]) -> str:
    """Return one line per segment: start and end in milliseconds, text. The layout is Whisper's."""
    lines = ["start\tend\ttext"]
    for segment in transcript["segments"]:
        text = " ".join(segment["text"].split())
        lines.append(f"{_milliseconds(segment['start'])}\t{_milliseconds(segment['end'])}\t{text}")
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = dict(
    zip(TRANSCRIPT_FORMATS, (to_txt, to_json, to_srt, to_vtt, to_tsv))
)


def clock_time(seconds: float, separator: str) -> str:
    """Format `3661.5` as `01:01:01,500`, with `separator` before the milliseconds."""
    rest, milliseconds = divmod(_milliseconds(seconds), 1000)
    rest, whole_s = divmod(rest, 60)
    hours, minutes = divmod(rest, 60)
    return f"{hours:02d}:{minutes:02d}:{whole_s:02d}{separator}{milliseconds:03d}"


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _span(segment: Mapping[str, Any], separator: str) -> str:
    return f"{clock_time(segment['start'], separator)} --> {clock_time(segment['end'], separator)}"


def _cue_text(segment: Mapping[str, Any]) -> str:
    # A blank line would end the cue; an arrow would start another.
    return " ".join(segment["text"].split()).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
