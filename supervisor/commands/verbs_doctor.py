"""The `doctor` verb: what would go wrong, before it does.

Checks that need a library run in short-lived children, all at once, each with a limit:
a driver or an endpoint that hangs is a finding and not the doctor's own end.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

from supervisor import environments
from supervisor.commands import doctor_host as host
from supervisor.commands.command_failed import CommandFailed
from supervisor.commands.doctor_host import Finding
from supervisor.commands.doctor_notices import of_notices
from supervisor.commands.errand import Errand, for_broker, for_engine
from supervisor.commands.layout import Paint, printable
from supervisor.commands.terminal import paint_for
from supervisor.contract import child_env, clock, options, settings
from supervisor.contract.exits import Exit

CHECK_WITHIN_S = 60.0
STYLES = {"ok": "good", "warn": "warn", "fail": "bad"}
_WIDTH = 100


def doctor(args: argparse.Namespace) -> int:
    """Run every check; 1 where one failed, 78 where the settings are wrong."""
    show = _show_json if args.json else _show_line
    findings = []
    code = Exit.OK
    try:
        for finding in _examine(args.config):
            findings.append(finding)
            show(finding)
    except settings.SettingsWrong as wrong:
        for finding in host.of_mistakes(wrong):
            show(finding)
        return Exit.SETTINGS_WRONG
    if any(finding.state == "fail" for finding in findings):
        code = Exit.FAILED
    if not args.json:
        print(f"\n{summary(findings)}")
    return code


def _examine(config: Any) -> Iterator[Finding]:
    yield from host.of_interpreter()
    loaded = settings.load(config)
    yield host.of_settings(loaded)
    yield host.of_state_dir(loaded.settings)
    yield host.of_clocks()
    yield of_notices(loaded, os.environ)
    with contextlib.ExitStack() as running:
        limit = _limit(CHECK_WITHIN_S)
        offline = for_engine(os.environ, offline=True)  # the doctor looks, it fetches nothing
        broker = running.enter_context(Errand("supervisor.broker", ["check"], for_broker(loaded, os.environ)))
        gpuwatch = running.enter_context(
            Errand("supervisor.gpuwatch", ["check"], environments.for_gpuwatch(os.environ))
        )
        model = running.enter_context(
            Errand("workerproc", ["fetch", loaded.settings.transcription.model], offline)
        )
        yield host.of_socket(loaded.settings, os.environ)
        yield from findings_of("backend", broker, limit)
        yield from findings_of("gpus", gpuwatch, limit)
        yield from _of_model(loaded.settings, model, limit)


def findings_of(check: str, errand: Errand, limit: Callable[[], None]) -> Iterator[Finding]:
    """Give what a checking child found; that it failed without a word is a finding as well."""
    count = 0
    try:
        for line in errand.lines(limit):
            if "check" in line:
                count += 1
                yield finding_from(line)
        errand.finish(fine=(Exit.OK, Exit.FAILED) if count else (Exit.OK,))
    except CommandFailed as error:
        yield Finding(
            check, "fail", str(error), "See above; `rem-supervisor config` shows the settings in force"
        )


def finding_from(line: Mapping[str, Any]) -> Finding:
    """Read one JSON line of a check; an unknown state counts as failed."""
    state = str(line.get("state"))
    return Finding(
        str(line.get("check")),
        state if state in STYLES else "fail",
        str(line.get("detail") or ""),
        str(line.get("cure") or ""),
    )


def _of_model(in_force: settings.Settings, fetch: Errand, limit: Callable[[], None]) -> Iterator[Finding]:
    """Say whether the model is here, and whether the engine loads and computes with it."""
    try:
        last = list(fetch.lines(limit))[-1:] or [{}]
        fetch.finish(fine=(Exit.OK, Exit.FAILED))
    except CommandFailed as error:
        yield Finding("model", "fail", str(error), "Install the pinned requirements anew: make venv")
        return
    path = str(last[0].get("path") or "")
    if not path:
        yield _absent_model(in_force.transcription.model, last[0], os.environ)
    wanted = child_env.dump_settings(options.in_force(in_force.transcription))
    named = ["--model-path", path, "--options", wanted] if path else []
    with Errand("workerproc", ["check", *named], for_engine(os.environ, offline=True)) as errand:
        yield from findings_of("engine", errand, limit)


def _absent_model(model: str, answer: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    """Say what `run` will do about a model that is not here: fetch it, or fail."""
    if os.sep in model or environ.get("HF_HUB_OFFLINE"):
        reason = str(answer.get("reason") or f"{model} is not on this host")
        return Finding("model", "fail", reason, str(answer.get("cure") or ""))
    hub = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return Finding(
        "model",
        "warn",
        f"{model} is not on this host: run fetches it from {hub} before its first job",
        f"Fetch it now: python -m workerproc fetch {model}",
    )


def _limit(seconds: float) -> Callable[[], None]:
    """Give a check that raises when `seconds` are over."""
    until_s = clock.now_s() + seconds

    def check() -> None:
        if clock.now_s() > until_s:
            raise CommandFailed(f"no answer within {seconds:g} s")

    return check


def _show_json(finding: Finding) -> None:
    print(json.dumps(dataclasses.asdict(finding)), flush=True)


def _show_line(finding: Finding) -> None:
    print("\n".join(finding_lines(finding, paint_for(sys.stdout, os.environ))), flush=True)


def finding_lines(finding: Finding, paint: Paint) -> list[str]:
    """Draw one finding; the cure below it where there is something to cure."""
    indent = " " * 24
    text = textwrap.wrap(printable(finding.detail), _WIDTH - 24) or [""]
    lines = [
        f"{paint(f'{finding.state:<4}', STYLES[finding.state])}  {printable(finding.check):<16}  {text[0]}"
    ]
    lines += [indent + more for more in text[1:]]
    if finding.cure and finding.state != "ok":
        lines += textwrap.wrap(
            f"-> {printable(finding.cure)}", _WIDTH, initial_indent=indent, subsequent_indent=indent + "   "
        )
    return [line.rstrip() for line in lines]


def summary(findings: Sequence[Finding]) -> str:
    """Count the findings in one line."""
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if not failed and not warned:
        return "nothing found that would go wrong"
    return f"{failed} failed, {warned} to look at, {len(findings) - failed - warned} well"
