"""The verbs `jobs` and `redrive`: the jobs of queue and records, as a table."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.helper_process import HelperProcess, for_broker
from supervisor.cli.text.text_format import UNKNOWN, count_text, printable, shorten, table
from supervisor.contract.exits import Exit
from supervisor.settings.load import load_settings

COLUMNS = ("JOB", "STATE", "TRY", "FAILED AT", "USER", "REASON")


def jobs(args: argparse.Namespace) -> int:
    """List jobs."""
    found, code = _ask_broker(args.config, "jobs", {"failed": args.failed})
    listed = [line for line in found if "event" not in line]
    queue = next((line for line in found if "event" in line), None)
    if args.json:
        for line in listed:
            print(json.dumps(line))
    elif listed:
        print("\n".join(jobs_table(listed)))
    elif args.failed:
        print("no failed jobs")
    elif queue is None:
        print("no jobs")
    if queue is not None and queue.get("event") == "queue":
        if not args.json:
            print(queue_line(queue, len(listed)))
    elif queue is not None:
        raise CommandFailed(f"the queue can't be read: {printable(queue.get('reason'))}", code)
    return Exit.OK


def queue_line(queue: Mapping[str, Any], listed_count: int) -> str:
    """Say what is listed, and how many more messages SQS has: it shows them only to their receiver."""
    waiting, in_flight = count_text(queue.get("waiting")), count_text(queue.get("in_flight"))
    here = "Listed: held or failed on this host" if listed_count else "No job is held or failed on this host"
    return f"{here}. In SQS: {waiting} waiting, {in_flight} in flight on all hosts."


def redrive(args: argparse.Namespace) -> int:
    """Put failed jobs back into the queue; exit 1 if one of them was refused."""
    if bool(args.jobs) == args.all:
        raise CommandFailed("name the jobs to redrive, or use --all for every failed job", Exit.USAGE)
    found, _ = _ask_broker(args.config, "redrive", {"all": args.all, "ids": args.jobs})
    if not found:
        print("nothing to redrive")
        return Exit.OK
    print("\n".join(jobs_table(found)))
    return Exit.FAILED if any(_is_refusal(line) for line in found) else Exit.OK


def _is_refusal(line: Mapping[str, Any]) -> bool:
    return line.get("event") in ("refused", "failed")


def _ask_broker(config: Any, verb: str, request: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    loaded = load_settings(config, for_workers=False)
    with HelperProcess(
        "supervisor.broker", [verb], for_broker(loaded, os.environ), request=request
    ) as helper:
        found = list(helper.lines())
        fine = (Exit.OK, Exit.FAILED, Exit.SETTINGS_WRONG) if found else (Exit.OK,)
        return found, helper.finish(fine)


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
