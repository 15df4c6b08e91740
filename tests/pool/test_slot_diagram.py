"""The README's picture of a slot's life is drawn from the table of moves, so it can't go stale."""

from __future__ import annotations

from pathlib import Path

from supervisor.pool.state.slot_types import MOVES, SlotState

README = Path(__file__).resolve().parents[2] / "README.md"


def drawn() -> str:
    """Draw the table as Mermaid draws states."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> STOPPED"]
    for state in SlotState:
        targets = [to for to in SlotState if to in MOVES[state]]
        lines += [f"    {state.name} --> {to.name}" for to in targets]
    return "\n".join([*lines, "```"])


def test_readme_shows_the_moves_of_the_table() -> None:
    text = README.read_text(encoding="utf-8")

    assert drawn() in text, f"put this into README.md, under the life of a slot:\n\n{drawn()}"
