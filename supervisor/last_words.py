"""Why a process ended, as its own last lines tell it, and the cure where they name one. PURE.

A CUDA library that is missing shows at the first computation, and by an abort: no exception, no exit
code, a line on stderr. Starting again changes nothing about that, so the slot is held with the cure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SAID_CHARS_MOST = 300
# CTranslate2 ("Library libcublas.so.12 is not found or cannot be loaded"), cuDNN's loader ("Unable to load
# any of {libcudnn_ops.so.9.1.0, ...}"), and the dynamic linker.
_MISSING = re.compile(
    r"(?:Library (?P<ct2>libcu\w+\.so(?:\.\d+)*) is not found"
    r"|Unable to load any of \{(?P<cudnn>libcudnn[\w.]+)"
    r"|Could not load library (?P<old>libcu\w+\.so(?:\.\d+)*)"
    r"|(?P<ld>libcu\w+\.so(?:\.\d+)*): cannot open shared object file)"
)
_CURE = "Install CUDA's libraries: pip install 'rem-supervisor[cuda]', or WITH_CUDA=1 make venv"
_DRIVER_CURE = "Install the NVIDIA driver, or give the container its GPUs (docker run --gpus all)"


@dataclass(frozen=True)
class Words:
    """What the last lines tell. `cure` only where no successor can do better without it."""

    said: str = ""
    cure: str = ""


NOTHING = Words()


def read(lines: Sequence[str], returncode: int) -> Words:
    """Read a dead process's last lines, the newest last.

    One that a signal killed had no time for words: its newest error is about something else.
    """
    for line in reversed(lines):
        found = _MISSING.search(line)
        if found:
            library = next(name for name in found.groups() if name)
            of_driver = library.startswith("libcuda.")
            return Words(f"the library {library} is missing", _DRIVER_CURE if of_driver else _CURE)
    return Words(_reason(lines) if returncode > 0 else "")


def _reason(lines: Sequence[str]) -> str:
    """Give the reason in the newest of its own log lines that tells an error."""
    for line in reversed(lines):
        try:
            facts = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(facts, dict) and str(facts.get("level", "")).lower() == "error" and facts.get("reason"):
            return str(facts["reason"])[:_SAID_CHARS_MOST]
    return ""
