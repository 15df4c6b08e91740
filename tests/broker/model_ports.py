"""A host's ports in the model: whatever it calls passes the world, which may let it die there."""

from __future__ import annotations

from typing import Any, Callable

Call = Callable[[str, Callable[[], Any]], Any]


class Tapped:
    """A port whose every call passes `World.call`."""

    def __init__(self, call: Call, name: str, behind: Any, skew_s: float = 0.0) -> None:
        self._call, self._name, self._behind = call, name, behind
        self.skew_s = skew_s

    def unix_s(self) -> float:
        return float(self._behind.unix_s()) + self.skew_s  # reads a clock, and calls nobody

    def __getattr__(self, method: str) -> Any:
        make = getattr(self._behind, method)
        return lambda *values: self._call(f"{self._name}.{method}", lambda: make(*values))
