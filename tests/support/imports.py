"""Imports of our files, read with `ast`: nothing is run. Who imports whom, files or rooms."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

TOP = Path(__file__).resolve().parents[2]
OURS = ("supervisor", "workerproc")


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands and what it names, in full."""

    file: str
    line: int
    module: str
    for_types_only: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def source_files() -> list[str]:
    return sorted(str(path.relative_to(TOP)) for top in OURS for path in (TOP / top).rglob("*.py"))


def imports_of(file: str, text: Optional[str] = None) -> Iterator[Import]:
    """Give all imports of a file, those inside functions and by `import_module("...")` too."""
    tree = ast.parse(text if text is not None else (TOP / file).read_text(encoding="utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if _is_for_types(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        for module in _named_by(node, file):
            yield Import(file, node.lineno, module, id(node) in for_types)  # type: ignore[attr-defined]


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _named_by(node: ast.AST, file: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = (
            ".".join(Path(file).parent.parts[: len(Path(file).parts) - node.level]) if node.level else ""
        )
        base = ".".join(part for part in (package, node.module or "") if part)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if file_of(inner) else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        for argument in node.args[:1]:
            yield from (
                part.value
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and _is_name(part.value)
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def file_of(module: str) -> Optional[str]:
    """Give the file of one of our modules; None for anything else."""
    if module.split(".")[0] not in OURS:
        return None
    path = module.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if (TOP / file).is_file():
            return file
    return None


def room_of(file: str) -> str:
    return str(Path(file).parent)


def arrows(rooms: bool) -> dict[str, set[str]]:
    """Give who imports whom: files, or rooms. What is imported for types only counts."""
    found: dict[str, set[str]] = {}
    for file in source_files():
        one = room_of(file) if rooms else file
        found.setdefault(one, set())
        for each in imports_of(file):
            target = file_of(each.module)
            if target is None or target == "supervisor/__init__.py":
                continue
            other = room_of(target) if rooms else target
            if other != one:
                found[one].add(other)
    return found


def a_circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Give one circle as its members in order; nothing where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []
