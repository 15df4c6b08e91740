"""A transcript as json, txt, srt, vtt or tsv. PURE.

Takes the transcript as `transcript.build` made it, or as somebody read it back. Each
format ends as its readers expect: txt is the full text and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Callable

from supervisor.contract.job_folder import TRANSCRIPT_FORMATS


def to_json(transcript: Mapping[str, Any]) -> str:
    """Give the whole transcript as it is stored."""
    return json.dumps(transcript, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def to_txt(transcript: Mapping[str, Any]) -> str:
    """Give the full text alone: REM's `.txt` object."""
    return str(transcript["fullText"])


def to_srt(transcript: Mapping[str, Any]) -> str:
    """Give SubRip subtitles: counted from 1 without a gap, comma before the milliseconds."""
    cues = [
        f"{number}\n{_span(segment, ',')}\n{_cue_text(segment)}\n"
        for number, segment in enumerate(transcript["segments"], 1)
    ]
    return "\n".join(cues)


def to_vtt(transcript: Mapping[str, Any]) -> str:
    """Give WebVTT; what would be markup there is written as text."""
    cues = [f"{_span(segment, '.')}\n{_escaped(_cue_text(segment))}\n" for segment in transcript["segments"]]
    return "\n".join(["WEBVTT\n", *cues])


def to_tsv(transcript: Mapping[str, Any]) -> str:
    """Give one line a segment: start and end in milliseconds, text; whisper's own layout."""
    lines = ["start\tend\ttext"]
    for segment in transcript["segments"]:
        text = " ".join(segment["text"].split())
        lines.append(f"{_milliseconds(segment['start'])}\t{_milliseconds(segment['end'])}\t{text}")
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = dict(
    zip(TRANSCRIPT_FORMATS, (to_txt, to_json, to_srt, to_vtt, to_tsv))
)


def clock_time(seconds: float, mark: str) -> str:
    """Write `3661.5` as `01:01:01,500`, with `mark` before the milliseconds."""
    rest, milliseconds = divmod(_milliseconds(seconds), 1000)
    rest, whole_s = divmod(rest, 60)
    hours, minutes = divmod(rest, 60)
    return f"{hours:02d}:{minutes:02d}:{whole_s:02d}{mark}{milliseconds:03d}"


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _span(segment: Mapping[str, Any], mark: str) -> str:
    return f"{clock_time(segment['start'], mark)} --> {clock_time(segment['end'], mark)}"


def _cue_text(segment: Mapping[str, Any]) -> str:
    # A blank line would end the cue, and an arrow would begin another.
    return " ".join(segment["text"].split()).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
