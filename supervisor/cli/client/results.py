"""Writes transcripts in the requested format, to stdout or into a folder.

An existing file with other content is never overwritten: two inputs may share a name, and
`notes.txt` beside `notes.wav` may be written by hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.helper_process import HelperProcess, for_engine


def transcript_as(form: str, event: Mapping[str, Any]) -> str:
    """Give the transcript that a `done` event names, as txt, json, srt, vtt or tsv."""
    if form in ("txt", "json"):
        path = event.get("text_path" if form == "txt" else "json_path")
        if not path:
            raise CommandFailed(f"the transcript of {event.get('file')} was not fetched")
        return Path(str(path)).read_text(encoding="utf-8")
    with (
        open(str(event.get("json_path")), "rb") as transcript,
        HelperProcess("workerproc", ["format", form], for_engine(os.environ), stdin=transcript) as helper,
    ):
        text = helper.output().decode("utf-8")
        helper.finish()
    return text


class ResultFolder:
    """The folder of `--output`. It is created first, so that a mistake fails before the work."""

    def __init__(self, folder: str, replaces: bool = False) -> None:
        """`replaces`: overwrite files of an earlier run."""
        self._folder = Path(folder)
        self._replaces = replaces
        self._ours: set[Path] = set()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CommandFailed(f"--output {folder} is a file. Name a folder for the transcripts.") from None
        except OSError as error:
            raise CommandFailed(f"--output {folder} can't be created: {error.strerror}.") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise CommandFailed(f"{folder} is not writable for this user. Name another folder with --output.")

    def put(self, audio: str, form: str, text: str) -> Path:
        """Write one transcript, give its path: `<stem>.<format>`, or `<stem>-2.<format>` if that is taken."""
        stem, number = Path(audio).stem, 1
        while True:
            path = self._folder / f"{stem}{'' if number == 1 else f'-{number}'}.{form}"
            if path not in self._ours and _write(path, text, self._replaces):
                self._ours.add(path)
                return path
            number += 1


def _write(path: Path, text: str, replaces: bool) -> bool:
    """Write `text`, unless a file with other content exists and may not be replaced."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        with open(path, "wb" if replaces else "xb") as out:
            out.write(data)
        return True
    except FileExistsError:
        return path.is_file() and path.read_bytes() == data
