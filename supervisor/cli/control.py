"""Verbs that send a request to a running supervisor: status, drain, resume, restart, release, reload."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from supervisor.cli.client.control_client import NotRunning, ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.follow_start import follow_start
from supervisor.cli.text.status_text import status_text
from supervisor.cli.text.terminal import is_terminal, paint_for
from supervisor.cli.text.text_format import span_text
from supervisor.contract import clock
from supervisor.contract.degraded import why_degraded
from supervisor.contract.exits import Exit
from supervisor.contract.printable import printable_lines
from supervisor.settings import state_folder

if TYPE_CHECKING:
    from supervisor.settings.schema import Settings

SNAPSHOT_FILE = "status.json"
WATCH_S = 1.0


def status(args: argparse.Namespace) -> int:
    """Print the status once, or each second; the exit code is 0, degraded or not running."""
    if args.watch:
        return _watch(args.config, args.json)
    try:
        found = _ask(args.config, {"do": "status"}).get("status")
    except NotRunning as error:
        raise NotRunning(f"{error}{_last_words(_state_dir(args.config))}") from None
    return _show(found, args.json)


def drain(args: argparse.Namespace) -> int:
    """Drain slots; with none named, the whole service."""
    return _order(args, {"do": "drain", "slots": args.slots, "deadline_s": args.deadline})


def resume(args: argparse.Namespace) -> int:
    """Undo a drain."""
    return _order(args, {"do": "resume", "slots": args.slots})


def restart(args: argparse.Namespace) -> int:
    """Give a slot a new worker."""
    return _order(args, {"do": "restart", "slot": args.slot})


def release(args: argparse.Namespace) -> int:
    """Retry a held slot, and say whether it starts."""
    return _order(args, {"do": "release", "slot": args.slot})


def reload(args: argparse.Namespace) -> int:
    """Make the service read its settings again."""
    _load(args.config)  # prints every mistake with its source, without the service
    return _order(args, {"do": "reload"})


def _order(args: argparse.Namespace, request: Mapping[str, Any]) -> int:
    reply = _ask(args.config, request)
    print("\n".join(printable_lines(str(reply.get("text") or "done"))), flush=True)
    follow = reply.get("follow")
    if isinstance(follow, dict):
        print(follow_start(follow, lambda: _ask(args.config, {"do": "status"}).get("status")))
    return Exit.OK


def _ask(config: Optional[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request to the service of this configuration; of its settings, only `state_dir` must be valid.

    Raises `SettingsWrong` where no service runs and the settings are invalid: none could start.
    """
    try:
        return ask(_state_dir(config), request, os.environ)
    except NotRunning:
        _load(config)
        raise


def _state_dir(config: Optional[str]) -> str:
    return state_folder.of_command(config, os.environ) or _load(config).state_dir


def _load(config: Optional[str]) -> Settings:
    """Read and check all settings, which takes 30 ms and is seldom needed. Raises `SettingsWrong`."""
    from supervisor.settings.load import load_settings

    return load_settings(config, for_workers=False).settings


def _show(found: Any, as_json: bool) -> int:
    if not isinstance(found, dict):
        raise CommandFailed("the supervisor's reply has no status; it may be another version")
    if as_json:
        print(json.dumps(found), flush=True)
    else:
        print(status_text(found, paint_for(sys.stdout, os.environ)), flush=True)
    return Exit.DEGRADED if why_degraded(found) else Exit.OK


def _watch(config: Optional[str], as_json: bool) -> int:
    """Show the status each second until Ctrl-C, also while no service is running."""
    clears = is_terminal(sys.stdout) and not as_json
    while True:
        if clears:
            sys.stdout.write("\x1b[H\x1b[2J")
        try:
            _show(_ask(config, {"do": "status"}).get("status"), as_json)
        except NotRunning as error:
            print(error, file=sys.stdout if clears else sys.stderr, flush=True)
        time.sleep(WATCH_S)


def _last_words(state_dir: str) -> str:
    """Describe the last status that a stopped service saved, and its age."""
    path = Path(state_dir) / SNAPSHOT_FILE
    snapshot = _read_snapshot(path)
    if snapshot is None:
        return ""
    try:
        ago_s = clock.wall_unix_s() - path.stat().st_mtime
    except OSError:
        return ""
    totals = snapshot.get("totals")
    done = totals.get("done", "-") if isinstance(totals, dict) else "-"
    supervisor = snapshot.get("supervisor")
    supervisor = supervisor if isinstance(supervisor, dict) else {}
    if "exit_code" in supervisor:
        code = supervisor["exit_code"]
        return f"\nThe last service stopped {span_text(ago_s)} ago with exit code {code}, {done} jobs done."
    seen = f"{supervisor.get('state', 'unknown')}, {done} jobs done ({path})"
    return f"\nThe last service did not stop cleanly. Its last status, {span_text(ago_s)} ago: {seen}"


def _read_snapshot(path: Path) -> Optional[dict[str, Any]]:
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None
