"""A mistake in the settings, and the error that carries all of them. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """One invalid setting: its source, its key, what is wrong, and the fix."""

    source: str
    key: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.what}. {self.cure}"


class SettingsWrong(Exception):
    """The settings are invalid. `mistakes` lists every mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))
