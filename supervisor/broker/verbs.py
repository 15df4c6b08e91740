"""The command line's verbs that need the backend: each a short life of this process.

Facts go to stdout as JSON lines; a failure of the verb itself is one line on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supervisor.broker import backend
from supervisor.broker.errors import BrokerError
from supervisor.contract import child_env
from supervisor.contract.exits import Exit
from supervisor.contract.settings import Settings


def run(arguments: Sequence[str]) -> int:
    """Do one verb; gives the exit code."""
    asked = _parser().parse_args(arguments)
    settings = child_env.settings(Settings)
    try:
        return _do(asked, settings)
    except BrokerError as error:
        print(str(error), file=sys.stderr)
        return Exit.FAILED
    except KeyboardInterrupt:
        return 130  # as a shell says it
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens: not even at exit
        return Exit.OK


def tell(**facts: Any) -> None:
    """Write one JSON line at once."""
    print(json.dumps(facts, ensure_ascii=True), flush=True)


def _do(asked: argparse.Namespace, settings: Settings) -> int:
    # Each verb loads only what it needs.
    if asked.verb == "submit":
        from supervisor.broker.submit import Wish, submit

        into = Path(asked.into) if asked.into else None
        wish = Wish(asked.language, asked.force, asked.options, into, asked.wait)
        return submit([Path(name) for name in asked.files], wish, settings, backend.connect(settings), tell)
    if asked.verb == "jobs":
        from supervisor.broker.jobs import show_jobs

        return show_jobs(asked.failed, settings, backend.connect(settings), tell)
    if asked.verb == "redrive":
        from supervisor.broker.jobs import redrive

        return redrive(None if asked.all else asked.ids, settings, backend.connect(settings), tell)
    from supervisor.broker.check import check

    return check(settings, tell)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m supervisor.broker")
    verbs = parser.add_subparsers(dest="verb", required=True)
    submit = verbs.add_parser("submit", help="enqueue audio files")
    submit.add_argument("files", nargs="+")
    submit.add_argument("--wait", action="store_true", help="until each has a transcript or has failed")
    submit.add_argument("--into", help="folder that gets JSON and text (with --wait)")
    submit.add_argument("--language")
    submit.add_argument("--force", action="store_true")
    submit.add_argument("--options", default="", help="a JSON object")
    jobs = verbs.add_parser("jobs", help="list jobs")
    jobs.add_argument("--failed", action="store_true")
    again = verbs.add_parser("redrive", help="try failed jobs again")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[])
    which.add_argument("--all", action="store_true")
    verbs.add_parser("check", help="what would go wrong")
    return parser
