"""The result of one check of `doctor`. PURE.

Children print each as one JSON object a line, with these fields.
"""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("ok", "warn", "fail", "skip")


@dataclass(frozen=True)
class Finding:
    """One check. `state` is one of STATES; `cure` says what to do if it is not ok."""

    check: str
    state: str
    detail: str
    cure: str = ""
