"""Command lines for Python programs of this project: this interpreter, nothing from the working directory.

`python -m` before 3.11 looks for modules in the working folder first, where a user may have a queue.py or
a `supervisor` folder; an empty entry in PYTHONPATH means that folder in every Python.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE_HOME = str(Path(__file__).resolve().parents[2])
# What -P does. With -c Python itself imports nothing before this runs, and puts "" first.
_WITHOUT_WORKING_FOLDER = (
    "import sys; del sys.path[0], sys.argv[0]; import runpy; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def module_command(module: str, args: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the command for `python -m module args...`; it imports nothing from the working folder."""
    if sys.version_info >= (3, 11):
        return (sys.executable, "-P", "-m", module, *args)
    return (sys.executable, "-c", _WITHOUT_WORKING_FOLDER, module, *args)


def finding_us(environment: Mapping[str, str]) -> dict[str, str]:
    """Set PYTHONPATH so that a child imports the same packages as this process, installed or not."""
    rest = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", ".")]
    return {**environment, "PYTHONPATH": os.pathsep.join([PACKAGE_HOME, *rest])}
