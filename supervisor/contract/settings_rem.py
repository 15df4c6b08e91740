"""Names and values of REM's own environment file that mean something else here, or nothing. PURE.

REM's file is taken unchanged; what differs is said once at start and by `rem-supervisor config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# REM's worker tells speakers apart and summarizes; here that is another service's work.
WITHOUT_USE = ("SPEAKERS_TABLE", "HUGGINGFACE_TOKEN", "ENABLE_DIARIZATION", "OPENAI_API_KEY", "REM_USER_ID")
_DEVICE = "devices.device"


def adopt(values: dict[str, Any], *environments: Mapping[str, str]) -> tuple[str, ...]:
    """Give REM's values our meaning, in place; gives a sentence for each thing that differs."""
    notes = []
    if values.get(_DEVICE) == "mps":
        values[_DEVICE] = "cpu"
        notes.append("WHISPER_DEVICE=mps means the CPU: CTranslate2 has no support for Apple's GPUs.")
    unused = [name for name in WITHOUT_USE if any(one.get(name, "").strip() for one in environments)]
    if unused:
        notes.append(f"{', '.join(unused)}: not used. Speakers and summaries are another service's work.")
    return tuple(notes)
