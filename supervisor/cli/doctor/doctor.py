"""The `doctor` verb: reports present and likely problems, each with a fix.

Checks that need a library run in short-lived child processes, in parallel and with a time
limit: a driver or an endpoint that hangs is reported and does not block the doctor.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable

import psutil

from supervisor.cli.client.helper_process import HelperProcess, for_broker, for_engine
from supervisor.cli.doctor import host_checks as host
from supervisor.cli.doctor import process_checks as processes
from supervisor.cli.doctor import service_checks as service
from supervisor.cli.doctor.child_checks import findings_of, limit_of, of_model
from supervisor.cli.doctor.notice_checks import of_notices
from supervisor.cli.doctor.slot_checks import of_slots
from supervisor.cli.text.terminal import paint_for
from supervisor.cli.text.text_format import Paint, printable
from supervisor.contract.exits import Exit
from supervisor.contract.finding import STATES, Finding
from supervisor.placement import slot_plan
from supervisor.placement.host import read_host
from supervisor.placement.model_memory import need_bytes
from supervisor.processes import env_allowlist
from supervisor.settings import state_folder
from supervisor.settings.load import Loaded

CHECK_WITHIN_S = 60.0
STYLES = dict(zip(STATES, ("good", "warn", "bad", "faint")))
_WIDTH = 100


def doctor(args: argparse.Namespace) -> int:
    """Run every check; exit 1 if one failed, 78 if the settings are invalid."""
    show = _show_json if args.json else _show_line
    findings = []
    for finding in _examine(args.config):
        findings.append(finding)
        show(finding)
    if not args.json:
        print(f"\n{summary(findings)}")
    failed = [finding.check for finding in findings if finding.state == "fail"]
    if "settings" in failed:
        return Exit.SETTINGS_WRONG
    return Exit.FAILED if failed else Exit.OK


def _examine(config: Any) -> Iterator[Finding]:
    """Run all checks. The running service comes first, because the others use its settings."""
    yield from host.of_interpreter()
    shell, mistakes = service.shell_settings(config)
    yield from mistakes
    state_dir = state_folder.of_command(config, os.environ) or (shell.settings.state_dir if shell else "")
    running = service.ask_service(state_dir, os.environ)
    loaded = running.loaded(shell)
    if state_dir:
        for_group = shell is not None and bool(shell.settings.control.group)
        yield from service.of_service(running, state_dir, os.environ, for_group)
    if loaded is None:
        return
    if not mistakes:
        yield host.of_settings(loaded, whose="the running service's: " if running.settings else "")
    yield from service.of_differences(running, shell)
    yield from _guarded("state directory", lambda: [host.of_state_dir(loaded.settings, bool(running.status))])
    yield from _guarded("memory", lambda: [processes.of_memory(_need_bytes(loaded, running))])
    if running.pid:
        yield from _guarded("processes", lambda: processes.of_processes(running.pid))
    yield from _guarded("processes", processes.of_strays)
    yield host.of_clocks()
    yield from _guarded("notices", lambda: [of_notices(loaded, os.environ)])
    yield from _of_children(loaded, is_running=running.status is not None)


def _of_children(loaded: Loaded, is_running: bool) -> Iterator[Finding]:
    """Run the checks that need a library, in parallel."""
    told: dict[str, Any] = {}
    own = loaded.settings.transcription
    with contextlib.ExitStack() as running:
        limit = limit_of(CHECK_WITHIN_S)
        offline = for_engine(os.environ, offline=True)  # the doctor downloads nothing
        broker = running.enter_context(
            HelperProcess("supervisor.broker", ["check"], for_broker(loaded, os.environ))
        )
        gpuwatch = running.enter_context(
            HelperProcess("supervisor.gpuwatch", ["check"], env_allowlist.for_gpuwatch(os.environ))
        )
        model = running.enter_context(
            HelperProcess("workerproc", ["fetch", own.model, "--engine", own.engine], offline)
        )
        yield from findings_of("backend", broker, limit)
        yield from findings_of("gpus", gpuwatch, limit, told.update)
        if not is_running:  # the status shows a running service's slots
            yield from _guarded("slots", lambda: of_slots(loaded.settings, told, read_host()))
        yield from of_model(loaded.settings, model, limit)


def _need_bytes(loaded: Loaded, running: service.RunningService) -> int:
    """Give the memory that one CPU worker needs; 0 if none is going to start."""
    own = loaded.settings
    if running.status is not None or own.devices.device == "cuda":
        return 0
    return need_bytes(own.transcription.model, "cpu", slot_plan.compute_type_for(own, "cpu"))


def _guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Give the findings of a check; a check that this host does not permit is a failure."""
    try:
        yield from look()
    except (OSError, psutil.Error) as error:
        yield Finding(check, "fail", f"can't be checked: {error}", "Run doctor as the service's user or root")


def _show_json(finding: Finding) -> None:
    print(json.dumps(dataclasses.asdict(finding)), flush=True)


def _show_line(finding: Finding) -> None:
    print("\n".join(finding_lines(finding, paint_for(sys.stdout, os.environ))), flush=True)


def finding_lines(finding: Finding, paint: Paint) -> list[str]:
    """Format one finding, with its fix below it if it is not ok."""
    indent = " " * 24
    text = textwrap.wrap(printable(finding.detail), _WIDTH - 24, break_on_hyphens=False) or [""]
    lines = [
        f"{paint(f'{finding.state:<4}', STYLES[finding.state])}  {printable(finding.check):<16}  {text[0]}"
    ]
    lines += [indent + more for more in text[1:]]
    if finding.cure and finding.state != "ok":
        lines += textwrap.wrap(
            f"-> {printable(finding.cure)}",
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=indent + "   ",
            break_on_hyphens=False,
        )
    return [line.rstrip() for line in lines]


def summary(findings: Sequence[Finding]) -> str:
    """Count the findings in one line."""
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    skipped = sum(finding.state == "skip" for finding in findings)
    ok = len(findings) - failed - warned - skipped
    counts = f"{ok} ok, {warned} warning{'s' * (warned != 1)}, {failed} failed"
    return f"{counts}, {skipped} skipped" if skipped else counts
