"""Detects PyPI's `supervisor` (supervisord) in our environment before it does harm.

Both packages are imported as `supervisor`. The one installed last overwrites files of the
other, and removing either breaks both. Reads file names only, because importlib.metadata
would add 40 ms to every start. Imports nothing of ours, which the clash may have broken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Optional

# Installers write `supervisor-4.3.0.dist-info`, old ones `.egg-info`.
_RECORD = re.compile(r"supervisor-(?P<version>[^-]+)\.(?:dist|egg)-info$", re.IGNORECASE)


def explain(path: Iterable[str]) -> Optional[str]:
    """Say that supervisord is installed somewhere on `path` (sys.path), and what to do; else None."""
    for folder in path:
        for name in _names_in(folder or "."):
            record = _RECORD.match(name)
            if record:
                return (
                    f"PyPI's supervisor {record['version']} (supervisord) is installed in {folder} "
                    "and has the same import name: each overwrites files of the other. "
                    "Install rem-supervisor in a separate environment (python3 -m venv, or make venv) "
                    "without supervisord"
                )
    return None


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # sys.path may contain zip files and missing folders
        return []
