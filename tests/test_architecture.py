"""What `docs/architecture.md` says is so: its pictures are those of today, what its walks name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from docs import draw_rooms, draw_slot
from supervisor.pool.state.slot_types import MOVES
from tests.support.imports import arrows

TOP = Path(__file__).resolve().parent.parent
PAGE = (TOP / "docs/architecture.md").read_text(encoding="utf-8")
WALKS = PAGE.partition("## Walks")[2].partition("\n## ")[0]


def steps() -> list[str]:
    """Give the walks' steps and paragraphs, each in one line."""
    blocks = re.split(r"\n(?=\d+\. |\n|###)", WALKS)
    return [" ".join(block.split()) for block in blocks if "`" in block]


def named_in(step: str) -> Iterator[tuple[str, list[str]]]:
    """Give each file that a step names, with the functions that follow it."""
    spans = re.findall(r"`([^`]+)`", step)
    files = [number for number, span in enumerate(spans) if span.endswith(".py")]
    for number, end in zip(files, [*files[1:], len(spans)]):
        yield spans[number], spans[number + 1 : end]


@cache
def functions_of(file: str) -> frozenset[str]:
    """Give the functions of a file, and `Class.method` for those of its classes."""
    found = set()
    for node in ast.parse((TOP / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, kinds)}
    return frozenset(found)


@pytest.mark.parametrize("step", steps(), ids=lambda step: step[:40])
def test_every_file_and_function_of_a_walk_exists(step: str) -> None:
    named = list(named_in(step))

    assert named, "a step says where in the code it happens"
    for file, functions in named:
        assert (TOP / file).is_file(), file
        assert functions, f"{file}: which function?"
        assert set(functions) <= functions_of(file), file


def test_there_are_five_walks() -> None:
    walks = re.split(r"^### ", WALKS, flags=re.MULTILINE)[1:]

    assert [len(re.findall(r"^\d+\. ", walk, flags=re.MULTILINE)) >= 7 for walk in walks] == [True] * 5


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/glossary.md", "docs/decisions/0035-rooms.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = (TOP / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+/[\w/.]*\.(?:py|md))`", text))

    assert {file for file in named if not (TOP / file).is_file()} == set()


def test_the_picture_of_the_rooms_is_that_of_the_imports() -> None:
    assert draw_rooms.rooms() in PAGE, "run `python -m docs.draw_rooms`"


def test_each_import_between_rooms_can_be_followed_in_the_picture() -> None:
    drawn: dict[str, set[str]] = {}
    names = dict(re.findall(r'^ {8}(\w+)\["([\w/]+)"\]$', PAGE, flags=re.MULTILINE))
    for room, target in re.findall(r"^ {4}([a-z_]+) --> ([a-z_]+)$", PAGE, flags=re.MULTILINE):
        drawn.setdefault(names[room], set()).add(names[target])
    there = {room: targets - draw_rooms.CONTRACT for room, targets in arrows(rooms=True).items()}

    assert set(names.values()) == set(there) - draw_rooms.CONTRACT
    assert {room: below(drawn, room) for room in there} == {room: below(there, room) for room in there}


def below(graph: Mapping[str, set[str]], room: str) -> set[str]:
    """Give all that can be reached."""
    ahead, found = [room], set[str]()
    while ahead:
        fresh = graph.get(ahead.pop(), set()) - found
        found |= fresh
        ahead += fresh
    return found


def test_the_picture_of_a_slot_has_the_events_that_make_its_moves() -> None:
    assert draw_slot.slot() in PAGE, "run `python -m docs.draw_slot`"


def test_every_move_of_the_table_is_in_the_picture_of_a_slot_with_an_event() -> None:
    drawn = re.findall(r"^ {4}([A-Z]+) --> ([A-Z]+): \w", PAGE, flags=re.MULTILINE)

    assert sorted(drawn) == sorted((was.name, now.name) for was, nows in MOVES.items() for now in nows)


def test_every_word_of_the_glossary_is_explained_once_in_at_most_three_sentences() -> None:
    rows = re.findall(
        r"^\| \*\*(.+?)\*\* \| (.+) \|$", (TOP / "docs/glossary.md").read_text(), flags=re.MULTILINE
    )

    assert len({word.lower() for word, _ in rows}) == len(rows) >= 20
    assert [word for word, meaning in rows if len(re.findall(r"\.(?: |$)", meaning)) > 3] == []
