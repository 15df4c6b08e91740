"""Warns if voice detection with custom parameters left out speech, whose text is then missing. PURE."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from supervisor.contract.job_options import VadParameters

# Less is breath between words, or what a threshold is meant to remove.
_LEAST_S = 1.0
_LEAST_SHARE = 0.05


def warnings(
    asked: VadParameters,
    speech: Sequence[Mapping[str, int]],
    kept: Sequence[Mapping[str, int]],
    rate_hz: int,
) -> tuple[str, ...]:
    """Return a warning with the speech that was not kept and the parameters that are not defaults.

    `speech` and `kept` have `start` and `end` in samples, in order.
    """
    speech_s = sum(one["end"] - one["start"] for one in speech) / rate_hz
    left_out_s = speech_s - _shared(speech, kept) / rate_hz
    if left_out_s < max(_LEAST_S, _LEAST_SHARE * speech_s):
        return ()
    usual = VadParameters()
    changed = [
        f"{field.name}={getattr(asked, field.name):g}"
        for field in dataclasses.fields(asked)
        if getattr(asked, field.name) != getattr(usual, field.name)
    ]
    share = f"{left_out_s:.1f} of {speech_s:.1f} s of speech"
    return (f"vad_parameters: {share} were left out ({', '.join(changed)})",)


def _shared(one: Sequence[Mapping[str, int]], other: Sequence[Mapping[str, int]]) -> int:
    """Count the samples in both."""
    total = n = 0
    for stretch in one:
        while n < len(other) and other[n]["end"] <= stretch["start"]:
            n += 1
        for candidate in other[n:]:
            if candidate["start"] >= stretch["end"]:
                break
            total += min(stretch["end"], candidate["end"]) - max(stretch["start"], candidate["start"])
    return total
