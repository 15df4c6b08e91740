"""The verbs `jobs` and `redrive`: what the queue and the records know, as a table."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.commands.command_failed import CommandFailed
from supervisor.commands.errand import Errand, for_broker
from supervisor.commands.layout import UNKNOWN, count_text, printable, shorten, table
from supervisor.contract import settings
from supervisor.contract.exits import Exit

COLUMNS = ("JOB", "STATE", "TRY", "FAILED AT", "USER", "REASON")


def jobs(args: argparse.Namespace) -> int:
    """List jobs."""
    found = _ask_broker(args.config, "jobs", {"failed": args.failed})
    if args.json:
        for line in found:
            print(json.dumps(line))
    elif found:
        print("\n".join(jobs_table(found)))
    else:
        print("no failed jobs" if args.failed else "no jobs")
    return Exit.OK


def redrive(args: argparse.Namespace) -> int:
    """Put failed jobs back; exit 1 where one of them could not be."""
    if bool(args.jobs) == args.all:
        raise CommandFailed("name jobs to redrive, or --all for every failed one", Exit.USAGE)
    found = _ask_broker(args.config, "redrive", {"all": args.all, "ids": args.jobs})
    if not found:
        print("nothing to redrive")
        return Exit.OK
    print("\n".join(jobs_table(found)))
    return Exit.FAILED if any(_is_refusal(line) for line in found) else Exit.OK


def _is_refusal(line: Mapping[str, Any]) -> bool:
    return line.get("event") in ("refused", "failed")


def _ask_broker(config: Any, verb: str, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    loaded = settings.load(config, for_workers=False)
    with Errand("supervisor.broker", [verb], for_broker(loaded, os.environ), request=request) as errand:
        found = list(errand.lines())
        errand.finish(fine=(Exit.OK, Exit.FAILED) if found else (Exit.OK,))
    return found


def jobs_table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Draw job lines; a value that is missing stays empty."""
    return table(COLUMNS, [_cells(line) for line in lines], right="TRY")


def _cells(line: Mapping[str, Any]) -> list[str]:
    return [
        printable(line.get("id")),
        printable(line.get("state") or line.get("event")),
        count_text(line.get("attempt")),
        printable(line.get("failed_at")) or UNKNOWN,
        shorten(printable(line.get("user_id")), 24),
        printable(line.get("reason")),
    ]
