"""Draws the rooms of the house from the imports that are really there, into `architecture.md`.

    python -m docs.draw_rooms      from the top of the repository

Imports are read as `tests/support/imports.py` reads them. Left out, so that the picture can be read: the
contract rooms, which every room may import, and each arrow that a chain of others shows as well.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.imports import arrows

PAGE = Path(__file__).resolve().parent / "architecture.md"
CONTRACT = {"supervisor/contract", "supervisor/contract/wire", "supervisor/contract/engine"}
# Heading -> the rooms below it; the first that fits counts.
PROCESSES: Mapping[str, tuple[str, ...]] = {
    "command line": ("supervisor/cli",),
    "broker": ("supervisor/broker",),
    "gpuwatch": ("supervisor/gpuwatch",),
    "worker": ("workerproc",),
    "shared": ("supervisor/settings",),
    "supervisor": ("supervisor",),
}


def rooms() -> str:
    """Give the picture of all rooms as a block of Mermaid."""
    shown = {room: targets - CONTRACT for room, targets in arrows(rooms=True).items() if room not in CONTRACT}
    lines = ["```mermaid", "flowchart TD"]
    for process in PROCESSES:
        lines.append(f'    subgraph {process.replace(" ", "_")}_process["{process}"]')
        lines += [f'        {_id(room)}["{room}"]' for room in sorted(shown) if _process_of(room) == process]
        lines.append("    end")
    lines += [f"    {_id(room)} --> {_id(target)}" for room, target in _least(shown)]
    return "\n".join([*lines, "```"])


def put(text: str, name: str, block: str) -> str:
    """Put a block between its two marks in the page's text. Raises ValueError where they are not there."""
    begin, end = f"<!-- {name}: drawn -->\n", f"\n<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page has no place for {name}")
    return f"{before}{begin}{block}{end}{after}"


def _least(graph: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Give the arrows without those that a chain of others shows as well. There is no circle."""
    for room in sorted(graph):
        for target in sorted(graph[room]):
            if not any(target in _below(graph, other) for other in graph[room] - {target}):
                yield room, target


def _below(graph: Mapping[str, set[str]], room: str) -> set[str]:
    """Give all rooms that can be reached from this one."""
    return graph[room].union(*(_below(graph, target) for target in graph[room]))


def _process_of(room: str) -> str:
    return next(
        process
        for process, tops in PROCESSES.items()
        if any(room == top or room.startswith(f"{top}/") for top in tops)
    )


def _id(room: str) -> str:
    return room.replace("/", "_")


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "rooms", rooms()), encoding="utf-8")
    sys.stdout.write(f"drawn: {PAGE.name}\n")
