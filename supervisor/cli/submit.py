"""The `submit` verb: recordings in, ids out; with --wait, transcripts out."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Optional

from supervisor.cli.client.control_client import NotRunning
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.results import ResultFolder, transcript_as
from supervisor.cli.client.submission import Event, SubmissionRequest, events, status_or_none
from supervisor.cli.text.progress import SubmissionProgress
from supervisor.cli.text.terminal import LiveLines
from supervisor.cli.text.text_format import printable
from supervisor.cli.text.why_waiting import same_but_for_figures, why_waiting
from supervisor.contract.exits import Exit
from supervisor.contract.job_options import BadOption, Options, merged
from supervisor.contract.whisper_names import language_mistake
from supervisor.settings.load import Loaded, load_settings

_ONE_RECORDING = (
    "srt",
    "vtt",
    "tsv",
)  # times start at 0: two files joined together are invalid


def submit(args: argparse.Namespace) -> int:
    """Submit files; exit 1 if any of them was refused or failed."""
    if not args.wait and (args.format or args.output):
        raise CommandFailed("--format and --output apply to transcripts: add --wait", Exit.USAGE)
    if args.format in _ONE_RECORDING and len(args.files) > 1 and not args.output:
        sentence = (
            f"--format {args.format} allows one recording on stdout: add --output DIR for several files"
        )
        raise CommandFailed(sentence, Exit.USAGE)
    options = asked_options(args.option)
    wrong_language = language_mistake(args.language) if args.language else None
    if wrong_language:
        raise CommandFailed(f"--language: {wrong_language}", Exit.USAGE)
    loaded = load_settings(args.config, for_workers=False)
    if not args.wait:
        wish = SubmissionRequest(args.files, language=args.language or "", force=args.force, options=options)
        return _enqueue(wish, loaded)
    into = tempfile.mkdtemp(prefix="rem-submit-")
    try:
        wish = SubmissionRequest(args.files, into, args.language or "", args.force, options)
        return Following(loaded, args).follow(wish)
    finally:
        shutil.rmtree(into, ignore_errors=True)


def asked_options(pairs: Sequence[str]) -> str:
    """Give `NAME=VALUE` pairs as a JSON object, empty for none. Raises `CommandFailed` for an invalid one.

    A value is JSON, or else a string; `vad_parameters.threshold=0.3` sets a key of an object.
    """
    asked: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CommandFailed(f"--option {pair}: expected NAME=VALUE, such as beam_size=1", Exit.USAGE)
        table, dot, key = name.partition(".")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        inside = asked.setdefault(table, {}) if dot else asked
        if not isinstance(inside, dict):
            raise CommandFailed(f"--option {pair}: {table} is already set as a whole", Exit.USAGE)
        inside[key if dot else name] = value
    try:
        merged(Options(), asked)
    except BadOption as bad:
        raise CommandFailed(f"--option {bad.name}: {bad.what}", Exit.USAGE) from None
    return json.dumps(asked, sort_keys=True) if asked else ""


def _enqueue(wish: SubmissionRequest, loaded: Loaded) -> int:
    fine = True
    for event in events(wish, loaded, os.environ, between=lambda: None):
        if event.get("event") == "queued":
            print(f"{printable(event.get('id'))}  {printable(event['file'])}", flush=True)
        elif event.get("event") in ("refused", "failed"):
            fine = False
            _tell_failure(event)
    return Exit.OK if fine else Exit.FAILED


def _tell_failure(event: Event) -> None:
    words = "refused" if event.get("event") == "refused" else "failed"
    print(
        f"{printable(event['file'])}: {words}: {printable(event.get('reason'))}", file=sys.stderr, flush=True
    )


class Following:
    """Follows one submission with --wait: progress on stderr, transcripts on stdout or in a folder."""

    def __init__(self, loaded: Loaded, args: argparse.Namespace) -> None:
        self._loaded = loaded
        self._form: str = args.format or "txt"
        self._headings = len(args.files) > 1 and self._form == "txt"
        self._folder: Optional[ResultFolder] = ResultFolder(args.output) if args.output else None
        self._progress = SubmissionProgress()
        self._live = LiveLines(sys.stderr)
        self._told_absence = False
        self._why_waiting = ""  # as last printed
        self._fine = True

    def follow(self, wish: SubmissionRequest) -> int:
        """Wait until every recording is done or has failed."""
        try:
            for event in events(wish, self._loaded, os.environ, self._look):
                self._live.clear()
                self._take(event)
                self._live.draw(self._progress.picture())
        finally:
            self._live.clear()
        return Exit.OK if self._fine else Exit.FAILED

    def _take(self, event: Event) -> None:
        what, job_id = event.get("event"), str(event.get("id"))
        if what == "queued":
            self._progress.queued(job_id, event["file"])
            self._say(f"{printable(event['file'])}: queued as {job_id}")
        elif what == "done":
            self._progress.ended(job_id, "done")
            self._hand_over(event)
        elif what in ("failed", "refused"):
            self._progress.ended(job_id, "failed")
            self._fine = False
            _tell_failure(event)

    def _hand_over(self, event: Event) -> None:
        text = transcript_as(self._form, event)
        if self._folder is not None:
            print(printable(self._folder.put(event["file"], self._form, text)), flush=True)
            return
        if self._headings:
            print(f"== {printable(event['file'])}")
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
        sys.stdout.flush()

    def _look(self) -> None:
        """Show the progress of this host's service, between two events."""
        try:
            status = status_or_none(self._loaded.settings, os.environ)
        except NotRunning:
            self._tell_absence()
            status = None
        for line in self._progress.seen(status):
            self._say(line)
        self._tell_why_waiting(why_waiting(status) if self._progress.only_waits else "")
        self._live.draw(self._progress.picture())

    def _tell_why_waiting(self, why: str) -> None:
        """Print once why all recordings wait, and again when the reason changes."""
        if why and same_but_for_figures(why) != self._why_waiting:
            self._live.clear()
            print(why, file=sys.stderr, flush=True)
        self._why_waiting = same_but_for_figures(why)

    def _tell_absence(self) -> None:
        if self._told_absence:
            return
        self._told_absence = True
        local = self._loaded.settings.backend.kind == "local"
        hope = (
            "waiting for one to start (rem-supervisor run)"
            if local
            else "waiting for a service on another host"
        )
        self._live.clear()
        print(
            f"no service is running on this host: {hope}; Ctrl-C leaves the jobs queued",
            file=sys.stderr,
            flush=True,
        )

    def _say(self, line: str) -> None:
        """Print a step where no live display is drawn."""
        if not self._live.live:
            print(line, file=sys.stderr, flush=True)
