"""Reads the reason of an exit, and its fix, from a process's last output lines. PURE.

A missing CUDA library causes an abort at the first computation: no exception, no exit code, only a line
on stderr. A restart does not help, so the slot is held with the fix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
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
# The last line of a traceback: the exception's name, mostly with its module, and what it says.
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt|NotFound)|\w+\.[A-Z]\w*)(?::|$)"
)
# What an exception may quote from a URL, a header or a settings file.
_SECRETS = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "[removed]"),
    (re.compile(r"://[^/\s:@]*:[^/\s@]*@"), "://[removed]@"),
    (
        re.compile(
            r"(?i)([\w-]*(?:secret|token|passw|signature|credential|api[_-]?key)[\w-]*(?<!Error)(?<!Exception)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,]+"
        ),
        r"\1[removed]",
    ),
)
_CURE = "Install CUDA's libraries: pip install 'rem-supervisor[cuda]', or WITH_CUDA=1 make venv"
_DRIVER_CURE = "Install the NVIDIA driver, or give the container its GPUs (docker run --gpus all)"


@dataclass(frozen=True)
class ExitWords:
    """The reason in the last lines. `cure` is set if a replacement would fail in the same way."""

    said: str = ""
    cure: str = ""


NOTHING = ExitWords()


def read(lines: Iterable[str], returncode: int) -> ExitWords:
    """Read the last lines of a process that exited, the newest last.

    A process killed by a signal could not report that: its newest error is about something else.
    """
    lines = tuple(lines)
    for line in reversed(lines):
        found = _MISSING.search(line)
        if found:
            library = next(name for name in found.groups() if name)
            of_driver = library.startswith("libcuda.")
            return ExitWords(f"the library {library} is missing", _DRIVER_CURE if of_driver else _CURE)
    return ExitWords(_reason(lines) if returncode > 0 else "")


def _reason(lines: Sequence[str]) -> str:
    """Return the newest error: a log line, the end of a traceback, or plain text.

    A process that cannot be loaded (a missing package or library, a syntax error) exits before it logs.
    """
    logged = [_logged_error(line) for line in lines]
    for line, error in zip(reversed(lines), reversed(logged)):
        if error or _EXCEPTION.match(line):
            return _shown(error or line)
    plain = [line for line in lines if line.strip() and not line.startswith((" ", "{", "Traceback "))]
    return _shown(plain[-1]) if plain else ""


def _logged_error(line: str) -> str:
    """Return the reason in an error line of its log; empty for any other line."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(facts, dict) or str(facts.get("level", "")).lower() not in ("error", "critical"):
        return ""
    stack = [text for text in str(facts.get("error") or "").splitlines() if _EXCEPTION.match(text)]
    return str(facts.get("reason") or (stack[-1] if stack else ""))


def _shown(text: str) -> str:
    """Return one bounded line, without control characters and without what looks like a secret."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_SAID_CHARS_MOST]
