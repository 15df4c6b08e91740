"""Reads the findings of the doctor's child processes; an incomplete check is a failure.

A child that crashes, hangs or prints a traceback has not checked everything, so the doctor must not
report that all is well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.helper_process import HelperProcess, for_engine
from supervisor.contract import child_bootstrap, clock
from supervisor.contract.exits import Exit
from supervisor.contract.finding import STATES, Finding
from supervisor.settings.schema import Settings, default_options

TRACEBACK = "Traceback (most recent call last)"


def _nothing(_line: Mapping[str, Any]) -> None:
    """Ignore a line that is no finding."""


def findings_of(
    check: str,
    helper: HelperProcess,
    limit: Callable[[], None],
    hear: Callable[[Mapping[str, Any]], None] = _nothing,
) -> Iterator[Finding]:
    """Give a child's findings; an incomplete check is one more, a failure.

    `hear` gets all other lines.
    """
    states = []
    try:
        for line in helper.lines(limit):
            if "check" in line:
                found = finding_from(line)
                states.append(found.state)
                yield found
            else:
                hear(line)
        code = helper.finish(fine=(Exit.OK, Exit.FAILED) if states else (Exit.OK,))
    except CommandFailed as error:
        yield _incomplete(check, str(error))
        return
    # Python also exits with 1 after a traceback; then some checks did not run.
    if not states:
        yield _incomplete(check, "the check reported nothing")
    elif TRACEBACK in helper.complaint(whole=True) or (code == Exit.FAILED and "fail" not in states):
        yield _incomplete(check, f"the check stopped early: {helper.complaint() or 'no reason given'}")


def _incomplete(check: str, why: str) -> Finding:
    cure = "Some checks did not run. `rem-supervisor config` shows the settings in effect"
    return Finding(check, "fail", why, cure)


def finding_from(line: Mapping[str, Any]) -> Finding:
    """Read one JSON line of a check; an unknown state counts as fail."""
    state = str(line.get("state"))
    return Finding(
        str(line.get("check")),
        state if state in STATES else "fail",
        str(line.get("detail") or ""),
        str(line.get("cure") or ""),
    )


def of_model(in_force: Settings, fetch: HelperProcess, limit: Callable[[], None]) -> Iterator[Finding]:
    """Check that the model is on this host, and that the engine loads and runs it."""
    try:
        answers = [line for line in fetch.lines(limit) if line.get("event") in ("ready", "failed")]
        fetch.finish(fine=(Exit.OK, Exit.FAILED) if answers else (Exit.OK,))
        if not answers:
            raise CommandFailed("the search for the model gave no answer")
    except CommandFailed as error:
        yield Finding("model", "fail", str(error), "Reinstall the pinned requirements: make venv")
        return
    path = str(answers[-1].get("path") or "")
    if not path:
        yield _absent_model(in_force.transcription.model, answers[-1], os.environ)
    wanted = child_bootstrap.dump_settings(default_options(in_force.transcription))
    engine = in_force.transcription.engine
    named = ["--model-path", path, "--options", wanted] if path else []
    command = ["check", *named, "--engine", engine]
    with HelperProcess("workerproc", command, for_engine(os.environ, offline=True)) as helper:
        yield from findings_of("engine", helper, limit)


def _absent_model(model: str, answer: Mapping[str, Any], environ: Mapping[str, str]) -> Finding:
    """Say whether `run` will download a missing model or fail."""
    if os.sep in model or environ.get("HF_HUB_OFFLINE"):
        reason = str(answer.get("reason") or f"{model} is not on this host")
        return Finding("model", "fail", reason, str(answer.get("cure") or ""))
    hub = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return Finding(
        "model",
        "warn",
        f"{model} is not on this host; the service downloads it from {hub} when it starts",
        f"Download it now: {sys.executable} -m workerproc fetch {model}",
    )


def limit_of(seconds: float) -> Callable[[], None]:
    """Give a check that raises when `seconds` are over."""
    until_s = clock.now_s() + seconds

    def check() -> None:
        if clock.now_s() > until_s:
            raise CommandFailed(f"no answer within {seconds:g} s")

    return check
