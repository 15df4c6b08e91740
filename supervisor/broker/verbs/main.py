"""The verbs of the command line that need the backend; each runs in a short-lived process.

The request is one JSON object on stdin, so an id or file name that begins with `-` is never taken for an
option. Results are JSON lines on stdout; a failure of the verb itself is one line on stderr.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supervisor.broker.backends import connect
from supervisor.broker.ports.errors import BrokerError, Misconfigured
from supervisor.contract import child_bootstrap
from supervisor.contract.exits import Exit
from supervisor.settings.schema import Settings

USAGE = "usage: python -m supervisor.broker submit|jobs|redrive|check < REQUEST.json"
VERBS = ("submit", "jobs", "redrive", "check")


def run(arguments: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in VERBS:
        print(USAGE, file=sys.stderr)
        return Exit.USAGE
    settings = child_bootstrap.settings(Settings)
    try:
        return _do(arguments[0], _request(), settings)
    except BrokerError as error:
        print(str(error), file=sys.stderr)
        return Exit.SETTINGS_WRONG if isinstance(error, Misconfigured) else Exit.FAILED
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone
        return Exit.OK
    except OSError as error:
        print(_describe_os_error(error, settings.state_dir), file=sys.stderr)
        return Exit.FAILED


def _describe_os_error(error: OSError, state_dir: str) -> str:
    """Return which file can't be used and why, and its owner if another user owns the service's files."""
    said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if not isinstance(error, PermissionError) or not str(error.filename).startswith(state_dir):
        return said
    try:
        uid = os.stat(state_dir).st_uid
        owner = pwd.getpwuid(uid).pw_name
    except (OSError, KeyError):
        owner = "another user"
    return (
        f"Permission denied: the queue in {state_dir} belongs to {owner}. Use sudo, "
        "or set REM_STATE_DIR for a service of your own"
    )


def emit(**facts: Any) -> None:
    """Write one JSON line and flush it."""
    print(json.dumps(facts, ensure_ascii=True), flush=True)


def _request() -> Mapping[str, Any]:
    """Read the request; empty input means no options."""
    text = sys.stdin.buffer.read()
    return dict(json.loads(text)) if text.strip() else {}


def _do(verb: str, asked: Mapping[str, Any], settings: Settings) -> int:
    # Each verb imports only what it needs.
    if verb == "submit":
        from supervisor.broker.verbs.submit import SubmitRequest, submit

        into = Path(asked["into"]) if asked.get("into") else None
        options = str(asked.get("options") or "")
        submission = SubmitRequest(
            asked.get("language"), bool(asked.get("force")), options, into, bool(asked.get("wait"))
        )
        files = [Path(name) for name in asked["files"]]
        return submit(files, submission, settings, connect.connect(settings), emit)
    if verb == "jobs":
        from supervisor.broker.verbs.jobs import show_jobs

        return show_jobs(bool(asked.get("failed")), settings, connect.connect(settings), emit)
    if verb == "redrive":
        from supervisor.broker.verbs.jobs import redrive

        ids = None if asked.get("all") is True else list(asked["ids"])
        return redrive(ids, settings, connect.connect(settings), emit)
    from supervisor.broker.verbs.check import check

    return check(settings, emit)
