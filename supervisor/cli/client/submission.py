"""Submits recordings and follows them until they are done. Used by `demo` and `submit`.

A short-lived broker process does the work: it enqueues, waits, and fetches transcripts into a
folder. This file starts it and passes on its events, under the file names that the user typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from supervisor.cli.client.control_client import NotRunning, ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.helper_process import HelperProcess, for_broker
from supervisor.contract.exits import Exit

if TYPE_CHECKING:
    from supervisor.settings.load import Loaded
    from supervisor.settings.schema import Settings

Event = dict[str, Any]
STATUS_WITHIN_S = 2.0


@dataclass(frozen=True)
class SubmissionRequest:
    """What to submit and how. `into`: wait, and put transcripts into this folder; empty: don't wait."""

    files: Sequence[str]
    into: str = ""
    language: str = ""
    force: bool = False
    options: str = ""  # a JSON object


def events(
    wish: SubmissionRequest, loaded: Loaded, environ: Mapping[str, str], between: Callable[[], None]
) -> Iterator[Event]:
    """Give each event (queued, done, failed, refused) as it happens.

    Raises `CommandFailed` with the child's error message if it failed, for example because
    the queue can't be reached.
    """
    # The child runs in another folder and needs full paths; events show the paths that the user typed.
    names = {str(Path(file).absolute()): file for file in wish.files}
    request = {
        "files": list(names),
        "into": wish.into,
        "wait": bool(wish.into),
        "language": wish.language or None,
        "force": wish.force,
        "options": wish.options,
    }
    count = 0
    with HelperProcess(
        "supervisor.broker", ["submit"], for_broker(loaded, environ), request=request
    ) as helper:
        for event in helper.lines(between):
            count += 1
            yield {**event, "file": names.get(str(event.get("file")), str(event.get("file")))}
        # Exit 1 after events repeats what the events said.
        helper.finish(fine=(Exit.OK, Exit.FAILED) if count else (Exit.OK,))


def status_or_none(in_force: Settings, environ: Mapping[str, str]) -> Any:
    """Give the status of this host's service for a progress display.

    None: it did not reply. Raises `NotRunning` if there is no service.
    """
    try:
        return ask(in_force.state_dir, {"do": "status"}, environ, STATUS_WITHIN_S).get("status")
    except NotRunning:
        raise
    except CommandFailed:
        return None
