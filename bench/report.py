"""Writes what a benchmark measured into RESULTS.md: each owns the part between its two markers.

    <!-- begin: supervision --> ... <!-- end: supervision -->

    report.write("supervision", report.heading(load_before) + table, RESULTS)

A part that isn't there yet is put at the end. What stands outside of markers is never touched.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def heading(load_before: float) -> str:
    """Say when, on what, beside which load and by which command the figures came."""
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    kernel = platform.release().split("-")[0]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux {kernel}"
    load = f"load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    command = shlex.join(["python", f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return f"{when}, {machine}, {load}. `{command}`\n"


def write(part: str, text: str, path: Path = RESULTS) -> None:
    """Put `text` in the place of what stood between the part's markers."""
    begin, end = f"<!-- begin: {part} -->", f"<!-- end: {part} -->"
    whole = path.read_text(encoding="utf-8")
    fresh = f"{begin}\n\n{text.strip()}\n\n{end}"
    before, found, rest = whole.partition(begin)
    if not found:
        whole = f"{whole.rstrip()}\n\n{fresh}\n"
    else:
        _, closed, after = rest.partition(end)
        if not closed:
            raise ValueError(f"{path}: {begin} has no {end}")
        whole = f"{before}{fresh}{after}"
    path.write_text(whole, encoding="utf-8")
