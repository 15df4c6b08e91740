"""Makes the fake libnvidia-ml.so.1 and the file that tells it what to say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Optional

import pytest

from tests.support.waiting import wait_for

SOURCE = Path(__file__).resolve().parent / "fake_nvml.c"
EVENTS = SOURCE.with_name("events.c")  # a part of it
LISTEN_WITHIN_S = 30.0
LIBRARY = "libnvidia-ml.so.1"


def compiler() -> Optional[str]:
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def stubs() -> str:
    """Every call that pynvml knows and the fake does not answer says NOT_SUPPORTED."""
    import pynvml

    known = set(re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', Path(pynvml.__file__).read_text("utf-8")))
    text = "".join(path.read_text(encoding="utf-8") for path in (SOURCE, EVENTS))
    own = set(re.findall(r"\b(nvml\w+)\(", text))
    return "".join(f"int {name}(void) {{ return 3; }}\n" for name in sorted(known - own))


def build(folder: Path) -> Path:
    """Compile the library into `folder`, at most once; tests side by side may ask together."""
    library = folder / LIBRARY
    if library.exists():
        return library
    found = compiler()
    if found is None:
        pytest.skip("no C compiler here (cc, gcc or clang): the fake NVML can't be built")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        (Path(scratch) / "stubs.c").write_text(stubs(), encoding="utf-8")
        made = Path(scratch) / LIBRARY
        command = [found, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(made), str(SOURCE)]
        subprocess.run([*command, str(Path(scratch) / "stubs.c"), "-lpthread", "-ldl"], check=True)
        os.replace(made, library)
    return library


class FakeNvml:
    """One test's driver: a folder for LD_LIBRARY_PATH, and what it says now."""

    def __init__(self, folder: Path, library: Path, count: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lines: dict[str, object] = {"count": count}
        self.retired: list[str] = []
        (folder / LIBRARY).symlink_to(library)
        for n in range(count):
            self.add_gpu(n)
        self.write()

    def add_gpu(self, n: int) -> None:
        """Describe one healthy GPU, another than the one that was in its place."""
        self.retired += [self.uuid(n)] if f"gpu{n}.uuid" in self.lines else []
        tag = os.urandom(4).hex()  # machine-wide locks carry it: no two tests share a GPU
        own: dict[str, object] = {
            "uuid": f"GPU-{tag}-0000-0000-0000-{n:012d}", "name": "NVIDIA L4",
            "bus": f"00000000:{n + 1:02x}:00.0", "total": 24 * 1024**3, "used": 400 * 1024**2,
            "utilization": 0, "temperature": 40 + n, "power": 20_000, "throttle": 1, "ecc": 0,
            "remapped": "0 0 0 0",
        }  # fmt: skip
        self.lines.update({f"gpu{n}.{key}": value for key, value in own.items()})

    def uuid(self, n: int) -> str:
        return str(self.lines[f"gpu{n}.uuid"])

    def set(self, changes: dict[str, object]) -> None:
        """Change lines; None takes one away. In force at once."""
        self.lines.update(changes)
        self.lines = {key: value for key, value in self.lines.items() if value is not None}
        self.write()

    def wait_listened(self, n: int, count: int = 1) -> None:
        """Wait until somebody listens to a GPU's events for the nth time: those before are nobody's."""
        wait_for(
            lambda: self.listened(n) >= count, f"listener {count} to the events of GPU {n}", LISTEN_WITHIN_S
        )

    def listened(self, n: int) -> int:
        """Count how often a GPU's events were registered for."""
        path = self.folder / "listeners"
        return path.read_text(encoding="utf-8").split().count(str(n)) if path.exists() else 0

    def xid(self, n: int, number: int, instance: str = "") -> None:
        """Let the driver tell an XID of one GPU; of a MIG device `instance` 1 or 1/0 where it says so."""
        before = self.lines.get(f"gpu{n}.xids", "")
        self.set({f"gpu{n}.xids": f"{before} {number}{instance and f'@{instance}'}".strip()})

    def write(self) -> None:
        fresh = self.folder / "state.new"
        fresh.write_text("".join(f"{key} {value}\n" for key, value in self.lines.items()), encoding="utf-8")
        fresh.replace(self.folder / "state")

    def remove_locks(self) -> None:
        """Take away the machine-wide lock files of GPUs that existed for one test."""
        known = [str(value) for key, value in self.lines.items() if key.endswith((".uuid", ".mig"))]
        for uuid in " ".join([*known, *self.retired]).replace(" - ", " ").split():
            for folder in ("/run/lock", tempfile.gettempdir()):
                for path in Path(folder).glob(f"rem-supervisor-{uuid}*.lock"):
                    path.unlink(missing_ok=True)

    def environ(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self.folder)}
