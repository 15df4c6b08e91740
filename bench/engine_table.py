"""The table of the engine's benchmark, and its place in RESULTS.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Row:
    """One measure: the smaller, the better; `ratio` is theirs by ours."""

    name: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: Optional[float]
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> Optional[float]:
        if not self.ours or not self.theirs:
            return None
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return 1.0 if ours == theirs else theirs / ours if ours else float("inf")


def table(rows: Sequence[Row]) -> str:
    """Give the rows as Markdown."""
    head = "| measure | ours, median (range) | against | times better | target | met |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *map(_line, rows)])


def _line(row: Row) -> str:
    ratio = row.ratio
    target = "" if row.target is None else f"{row.target:.2f}"
    met = "" if ratio is None or row.target is None else "yes" if ratio >= row.target else "no"
    shown = row.note if ratio is None else f"{ratio:.2f}"
    name = f"{row.name} ({row.note})" if row.note and ratio is not None else row.name
    cells = (name, _values(row.ours, row.unit), _values(row.theirs, row.unit), shown, target, met)
    return f"| {' | '.join(cells)} |"


def _values(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    middle = f"{_number(statistics.median(values))} {unit}".strip()
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
