"""The `demo` verb: a real service and real transcripts, without an account.

Starts a service on the embedded backend, submits the sample recordings, prints each step,
the transcripts and their paths, and stops the service.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.results import ResultFolder, transcript_as
from supervisor.cli.client.submission import Event, SubmissionRequest, events
from supervisor.cli.demo.demo_service import DemoService, ServiceFailed
from supervisor.cli.text.progress import SubmissionProgress
from supervisor.cli.text.status_text import status_text
from supervisor.cli.text.terminal import LiveLines, paint_for
from supervisor.cli.text.text_format import audio_text, factor_text, printable, span_text
from supervisor.contract import clock
from supervisor.contract.degraded import ready_count, worker_slots
from supervisor.contract.exits import Exit, describe

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
READY_WITHIN_S = 900.0  # a large model on a slow network; a service that fails exits long before


@dataclass(frozen=True)
class Sample:
    """One recording that is part of this package."""

    path: str
    audio_s: float


def demo(args: argparse.Namespace) -> int:
    """Transcribe all samples; 0 if each got a transcript and no process is left."""
    samples = read_samples(SAMPLES)
    folder = ResultFolder(args.output, replaces=True)
    service = DemoService(os.environ, args.keep)
    try:
        with service:
            code = Demo(service, samples, folder).run()
    except ServiceFailed as error:
        raise _explained(error, service) from None
    finally:
        if args.keep:
            print(f"kept: {service.folder} (log: {service.log})")
    return code if _left_in_order(service) else Exit.FAILED


def read_samples(folder: Path) -> list[Sample]:
    """Read the list of samples."""
    with (folder / "samples.tsv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Sample(str(folder / row["file"]), float(row["seconds"])) for row in rows]


def _explained(error: ServiceFailed, service: DemoService) -> CommandFailed:
    """Add the end of the service's log, which was read before its folder was removed."""
    return CommandFailed(
        "\n".join([str(error), *service.last_words, "Try: rem-supervisor doctor"]), error.code
    )


def _left_in_order(service: DemoService) -> bool:
    if service.left_over:
        print(f"rem-supervisor: killed remaining processes: pids {service.left_over}", file=sys.stderr)
    if service.returncode:
        print(f"rem-supervisor: the service failed: {describe(service.returncode)}", file=sys.stderr)
    if service.left_over or service.returncode:
        print("\n".join(service.last_words), file=sys.stderr)
        return False
    print("the service has stopped; no process is left")
    return True


class Demo:
    """One run of the demo."""

    def __init__(self, service: DemoService, samples: list[Sample], folder: ResultFolder) -> None:
        self._service = service
        self._samples = samples
        self._folder = folder
        self._live = LiveLines(sys.stdout)
        self._progress = SubmissionProgress()
        self._written: list[tuple[str, Path, Path]] = []
        self._failed = False

    def run(self) -> int:
        """Wait for a worker, transcribe every sample, print the transcripts."""
        started_at_s = clock.now_s()
        in_force = self._service.loaded.settings
        self._say(f"starting a service on the embedded backend, model {in_force.transcription.model}")
        self._await_worker()
        ready_at_s = clock.now_s()
        self._say(
            f"ready after {span_text(ready_at_s - started_at_s)}; submitting {len(self._samples)} recordings"
        )
        into = tempfile.mkdtemp(prefix="transcripts-", dir=self._service.folder)
        wish = SubmissionRequest([sample.path for sample in self._samples], into)
        try:
            for event in events(wish, self._service.loaded, self._service.environment, self._look):
                self._take(event)
        finally:
            self._live.clear()
            shutil.rmtree(into, ignore_errors=True)
        self._sum_up(clock.now_s() - ready_at_s)
        return Exit.FAILED if self._failed or len(self._written) < len(self._samples) else Exit.OK

    def _await_worker(self) -> None:
        """Wait for the first ready slot; print each change meanwhile."""
        told = ""
        give_up_at_s = clock.now_s() + READY_WITHIN_S
        for status in self._service.statuses():
            if status and ready_count(status):
                return
            news = self._service.model_news() or start_news(status)
            if news and news != told:
                self._say(news)
                told = news
            slots = worker_slots(status or {})
            if slots and all(slot.get("state") == "held" for slot in slots):
                raise ServiceFailed("no worker can start: every slot is held")
            if clock.now_s() > give_up_at_s:
                raise ServiceFailed(f"no worker was ready within {span_text(READY_WITHIN_S)}")

    def _look(self) -> None:
        for line in self._progress.seen(self._service.status()):
            if not self._live.live:
                print(line, flush=True)
        self._live.draw(self._progress.picture())

    def _take(self, event: Event) -> None:
        name, job_id = Path(event["file"]).name, str(event.get("id"))
        if event.get("event") == "queued":
            self._progress.queued(job_id, name)
            if not self._live.live:
                print(f"{name}: queued", flush=True)
        elif event.get("event") == "done":
            self._progress.ended(job_id, "done")
            self._show(name, event)
        elif event.get("event") in ("failed", "refused"):
            self._failed = True
            self._progress.ended(job_id, "failed")
            self._say(f"{name}: failed: {printable(event.get('reason'))}")

    def _show(self, name: str, event: Event) -> None:
        """Print a transcript and write it to the output folder."""
        text = transcript_as("txt", event)
        paths = [self._folder.put(name, form, transcript_as(form, event)) for form in ("json", "txt")]
        self._written.append((name, paths[0], paths[1]))
        audio_s = next((one.audio_s for one in self._samples if Path(one.path).name == name), None)
        paint = paint_for(sys.stdout, os.environ)
        self._say(f"\n{paint(f'== {name}', 'bold')} ({audio_text(audio_s)})\n{text.strip()}")

    def _sum_up(self, took_s: float) -> None:
        status = self._service.status()
        if status:
            print()
            print(status_text(status, paint_for(sys.stdout, os.environ)))
        print("\ntranscripts:")
        for name, json_path, text_path in self._written:
            print(f"  {name}: {json_path} and {text_path}")
        audio_s = sum(one.audio_s for one in self._samples)
        print(
            f"\n{audio_text(audio_s)} of speech in {took_s:.1f} s: {factor_text(audio_s / took_s)} real time",
            flush=True,
        )

    def _say(self, line: str) -> None:
        self._live.clear()
        print(line, flush=True)


def start_news(status: Any) -> str:
    """Say what the slots are doing while none is ready: `cpu0, cpu1 starting (loading)`."""
    alike: dict[str, list[str]] = {}
    for slot in worker_slots(status or {}):
        reason = f" ({slot['reason']})" if slot.get("reason") else ""
        alike.setdefault(f"{slot.get('state')}{reason}", []).append(str(slot.get("name")))
    return "; ".join(f"{', '.join(names)} {doing}" for doing, names in alike.items())
