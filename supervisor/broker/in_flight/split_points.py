"""Where a long recording was cut: a small file of the worker's, kept in the record as it is.

What is in it only workers understand (`workerproc/checkpoints/split_file.py`). It goes into the record with
writes that happen anyway, and from there into the folder of whoever carries on, on whatever host: so
that the parts of one recording stay the same parts. Losing it costs nothing but that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional

from supervisor.broker.ports.streams import spool_errors
from supervisor.broker.rules.record_rules import Cuts

FILE = "cuts.json"
_FILE_BYTES_MOST = 16 * 1024
_AT = re.compile(r"\d+( \d+)*", re.ASCII)


def read(folder: Path) -> Optional[Cuts]:
    """Give the cuts that a worker left in the job's folder; None where there are none that make sense."""
    try:
        with open(folder / FILE, "rb") as file:
            data = file.read(_FILE_BYTES_MOST + 1)
        plain = json.loads(data) if len(data) <= _FILE_BYTES_MOST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(plain, dict):
        return None
    of, at = plain.get("of"), plain.get("at")
    if not isinstance(of, str) or not isinstance(at, str) or len(of) > 64 or not _AT.fullmatch(at):
        return None
    return Cuts(of, at)


def bring(cuts: Cuts, folder: Path) -> None:
    """Lay the record's cuts into the folder of a job that is begun again. Raises TryLater."""
    path = folder / FILE
    with spool_errors(path):
        path.write_text(json.dumps({"of": cuts.of, "at": cuts.at}), encoding="utf-8")
