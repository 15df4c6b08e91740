"""How every process of ours logs: a constant sentence, facts as fields, never blocking.

Records go into a bounded queue; one thread writes them. A pipe that nobody reads then
costs lost lines, which are counted and told, and never a stalled loop. Text on a
terminal, one JSON object a line otherwise (children always write JSON: the supervisor
reads and passes their lines on).
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from typing import IO, Any, Optional

from supervisor.contract import clock

MAX_LINE_CHARS = 8_192
_QUEUE_LINES = 2_000
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Give the facts that were logged beside the sentence (`extra=`)."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message, process, then the facts."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": clock.iso_utc(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage()[:MAX_LINE_CHARS],
            "process": self._process,
        }
        line.update(fields_of(record))
        if record.exc_info:
            # The end of a stack says most.
            line["error"] = self.formatException(record.exc_info)[-MAX_LINE_CHARS:]
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for eyes: `13:21:41 supervisor  slot moved  slot=cpu0 was=ready`."""

    def __init__(self, process: str) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        facts = fields_of(record)
        process = str(facts.pop("process", self._process))
        tail = " ".join(f"{key}={value}" for key, value in facts.items())
        level = "" if record.levelno <= logging.INFO else f"{record.levelname} "
        text = f"{self.formatTime(record, self.datefmt)} {process:<10} {level}{record.getMessage()}"
        if tail:
            text = f"{text}  {tail}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text.replace("\x1b", "?")[:MAX_LINE_CHARS]


class WriterThread(logging.Handler):
    """Hands lines to a thread that writes them; drops and counts when that falls behind."""

    def __init__(self, stream: IO[str], limit: int = _QUEUE_LINES) -> None:
        super().__init__()
        self.dropped_count = 0
        self._stream = stream
        self._lines: queue.Queue[Optional[str]] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped_count += 1

    def stop(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, for at most `timeout_s`, then let go."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        told = 0
        while True:
            line = self._lines.get()
            if line is None:
                return
            try:
                if self.dropped_count > told:
                    self._stream.write(f"log lines dropped: {self.dropped_count - told}\n")
                    told = self.dropped_count
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                # The reader is gone (closed pipe, full disk). Logging goes on being free of charge.
                self.dropped_count += 1


def set_up(process: str, level: str, form: str = "json", stream: Optional[IO[str]] = None) -> WriterThread:
    """Send this process's log through a `WriterThread`; `form` is text, json or auto."""
    stream = stream or sys.stdout
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    writer = WriterThread(stream)
    writer.setFormatter(TextFormatter(process) if form == "text" else JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel(level)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "faster_whisper", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return writer


def die_quietly(code: int, writer: Optional[WriterThread] = None) -> None:
    """End the process now, without exit handlers: native libraries hang or abort in theirs."""
    if writer is not None:
        writer.stop()
    os._exit(code)
