"""Logging of all processes: a constant sentence, facts as fields, never blocking.

Records go into a bounded queue, and one thread writes them. If nobody reads the pipe, lines are dropped,
counted and reported; the process is never blocked. The format is text on a terminal, otherwise one JSON
object per line. Children always write JSON: the supervisor parses and forwards their lines. Every line has an
`event` key, which stays when its sentence changes; text omits it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import sys
import threading
from typing import IO, Any, Optional

from supervisor.contract import timestamps
from supervisor.contract.printable import printable

MAX_LINE_CHARS = 8_192
_QUEUE_LINES = 2_000
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the facts that were logged with the sentence (`extra=`)."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def is_reserved(key: str) -> bool:
    """Return whether logging reserves this name, so that `extra=` may not use it."""
    return key in _STANDARD


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, message, process, then the facts.

    Lines are ASCII and limited in length, so that every tool can read them.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamps.iso_utc(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "process": self._process,
        }
        facts = fields_of(record)
        line["process"] = facts.pop("child", self._process)  # a forwarded line of a child
        line.update(facts)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _dump(line)


def _dump(line: dict[str, Any]) -> str:
    """Serialize as JSON. If that fails or is too long, the fields become truncated strings."""
    # A key that is not a string, NaN or a cycle: the code below accepts them all.
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        text = json.dumps(line, default=str, allow_nan=False)
        if len(text) <= MAX_LINE_CHARS:
            return text
    short = {_plain(key)[:40]: _plain(value)[:100] for key, value in list(line.items())[:12]}
    short.update(message=_plain(line["message"])[:1_000], cut="yes")
    if "error" in line:
        short["error"] = _plain(line["error"])[-1_000:]  # the end of a traceback says most
    return json.dumps(short)


def _plain(value: object) -> str:
    """Return ASCII without control characters: JSON then escapes only quotes and backslashes."""
    return printable(str(value), "\t\n").encode("ascii", "backslashreplace").decode("ascii")


class TextFormatter(logging.Formatter):
    """A line for people: `13:21:41 supervisor slot state changed slot=cpu0 was=ready`.

    Only printable characters: text from queues and files must not control the terminal.
    """

    def __init__(self, process: str) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        facts = fields_of(record)
        facts.pop("event", None)  # a key for programs, which read JSON
        process = str(facts.pop("child", self._process))
        tail = " ".join(f"{key}={value}" for key, value in facts.items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        text = f"{self.formatTime(record, self.datefmt)} {process:<10} {level}{record.getMessage()}"
        if tail:
            text = f"{text}  {tail}"
        text = printable(text.replace("\n", " "), "\t")[:MAX_LINE_CHARS]
        if record.exc_info:
            stack = printable(self.formatException(record.exc_info), "\t\n")
            text = f"{text}\n{stack[-MAX_LINE_CHARS:]}"
        return text


class WriterThread(logging.Handler):
    """Passes lines to a thread that writes them; drops and counts lines when that thread falls behind."""

    def __init__(self, stream: IO[str], limit: int = _QUEUE_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._fd = _descriptor_of(stream)
        self._refused_count = 0  # the queue was full; counted by the thread that logs
        self._failed_count = 0  # could not be written; counted by the writer thread
        self._lines: queue.Queue[Optional[str]] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped_count(self) -> int:
        """The number of lines that were not written."""
        return self._refused_count + self._failed_count

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self._safe_format(record))
        except queue.Full:
            self._refused_count += 1

    def stop(self, timeout_s: float = 1.0) -> None:
        """Write the queued lines for at most `timeout_s`, then end the thread."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _safe_format(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  # a fact's __str__ may raise anything; logging must not
            return self.format(
                _note(
                    "log line cannot be written",
                    event="log-line-unwritable",
                    original=str(record.msg),
                    why=repr(error),
                )
            )

    def _write_all(self) -> None:
        reported = 0
        while True:
            line = self._lines.get()
            if self.dropped_count > reported:
                now = self.dropped_count
                if self._write(
                    self.format(_note("log lines dropped", event="log-lines-dropped", count=now - reported))
                ):
                    reported = now
            if line is None:
                return
            if not self._write(line):
                self._failed_count += 1

    def _write(self, line: str) -> bool:
        """Write one line; return False on an error (closed pipe, full disk). Logging continues."""
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            data = f"{line}\n".encode(encoding, "backslashreplace")
            if self._fd is None:
                self._stream.write(data.decode(encoding))
                self._stream.flush()
            else:
                _write_all_of(data, self._fd)
        except (OSError, ValueError):
            return False
        return True


def _descriptor_of(stream: IO[str]) -> Optional[int]:
    """Return the file descriptor of a stream, None if it has none.

    Lines are written to it directly: a thread that is blocked in `stream.write` holds the stream's lock, and
    the process could not exit until somebody read the log.
    """
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _write_all_of(data: bytes, fd: int) -> None:
    """Write to a pipe or file; wait for its reader even if the descriptor is non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [])


def _note(sentence: str, **facts: object) -> logging.LogRecord:
    """Return a record about logging itself."""
    return logging.makeLogRecord(
        {"levelno": logging.WARNING, "levelname": "WARNING", "msg": sentence, **facts}
    )


def set_up(process: str, level: str, form: str = "json", stream: Optional[IO[str]] = None) -> WriterThread:
    """Send this process's log through a `WriterThread`; `form` is text, json or auto (text on a terminal)."""
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
    """Exit at once, without exit handlers: those of native libraries may hang or abort."""
    if writer is not None:
        writer.stop()
    os._exit(code)
