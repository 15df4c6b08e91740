"""REM's environment variables that differ here or are misspelt. PURE.

REM's file can be used unchanged; differences are logged at start and printed by `rem-supervisor config`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# REM's worker also identifies speakers and writes summaries; here, another service does.
WITHOUT_USE = ("SPEAKERS_TABLE", "HUGGINGFACE_TOKEN", "ENABLE_DIARIZATION", "OPENAI_API_KEY", "REM_USER_ID")
_DEVICE = "devices.device"
_LETTERS_MOST = 2
_ALIKE = 0.85  # WHISPER_DEVISE is 0.93 of WHISPER_DEVICE; chosen without measurement


def adopt(values: dict[str, Any], *environments: Mapping[str, str]) -> tuple[str, ...]:
    """Replace REM's values by ours, in place; gives a sentence for each difference."""
    notes = []
    if values.get(_DEVICE) == "mps":
        values[_DEVICE] = "cpu"
        notes.append("WHISPER_DEVICE=mps means the CPU: CTranslate2 has no support for Apple's GPUs.")
    unused = [name for name in WITHOUT_USE if any(one.get(name, "").strip() for one in environments)]
    if unused:
        notes.append(f"{', '.join(unused)}: not used. Speakers and summaries are another service's work.")
    return tuple(notes)


def misspelt(known: Collection[str], *environments: Mapping[str, str]) -> tuple[str, ...]:
    """Give a sentence for each unknown name that is close to one of ours, and is ignored."""
    names = sorted({name for one in environments for name in one} - set(known))
    near = [(name, _near(name, known)) for name in names]
    return tuple(
        f"{name} is not a setting and is ignored. Did you mean {ours}?" for name, ours in near if ours
    )


def _near(name: str, known: Collection[str]) -> str:
    """Give the known name that differs in one or two letters; empty if there is none."""
    alike = [ours for ours in known if ours[:3] == name[:3] and abs(len(ours) - len(name)) <= _LETTERS_MOST]
    if not alike:
        return ""
    from difflib import get_close_matches  # costs 3 ms and is seldom needed

    return next(iter(get_close_matches(name, alike, n=1, cutoff=_ALIKE)), "")
