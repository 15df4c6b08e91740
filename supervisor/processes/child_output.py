"""Reads a child's standard output and error line by line, with limits.

Lines over the child's allowance are dropped and counted, and the log reports how many; the last of them
are kept until its exit, because they may give the reason. A line is cut at LINE_BYTES, and the rest is
dropped and counted, even if the line never ends. The pipe is emptied in any case, but at a limited rate.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from typing import Callable, Optional

from supervisor.processes.fair_reader import FairReader
from supervisor.processes.output_allowance import OutputAllowance

log = logging.getLogger(__name__)

READ_BYTES = 65_536
LINE_BYTES = 8_192
TELL_EVERY_S = 10.0
LAST_READS_MOST = 64  # 4 MiB, more than a pipe holds: the rest is a stray grandchild's flood
LAST_LINES_MOST = 20  # of those that were dropped


class ChildOutput:
    """The reading end of a child's standard output and error. `printed` is called with each line."""

    def __init__(
        self, name: str, fd: int, loop: asyncio.AbstractEventLoop, printed: Callable[[str], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._name, self._fd, self._loop, self._printed = name, fd, loop, printed
        self._allowance = OutputAllowance()
        self._rest = b""  # an incomplete line
        self._dropped_count = 0
        self._cut_bytes = 0  # dropped bytes of lines that are too long
        self._dropped_last = b""
        self._telling: Optional[asyncio.TimerHandle] = None
        self._turns = FairReader(loop, fd, self._read, self._pass_on)

    def finish(self) -> None:
        """Pass on the rest within the limits, and close the pipe."""
        for _ in range(LAST_READS_MOST):
            if self._fd < 0 or not self._read():
                break
        self._close()

    def _read(self) -> bool:
        """Read once; return whether data arrived."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        if data:
            self._take(self._rest + data)
        else:
            self._close()
        return bool(data)

    def _take(self, data: bytes) -> None:
        """Pass on the lines within the allowance; drop and count the others."""
        now_s, start = self._loop.time(), 0
        end = data.find(b"\n")
        while end >= 0 and self._allowance.take(min(end - start, LINE_BYTES), now_s):
            self._turns.waiting.append(data[start : min(end, start + LINE_BYTES)])
            self._cut(end - start - LINE_BYTES)
            start = end + 1
            end = data.find(b"\n", start)
        if end >= 0:
            last = data.rfind(b"\n")
            self._drop(data.count(b"\n", start), data[max(start, last - LINE_BYTES) : last])
            start = last + 1
        self._rest = data[start : start + LINE_BYTES]
        self._cut(len(data) - start - LINE_BYTES)

    def _cut(self, size_bytes: int) -> None:
        if size_bytes > 0:
            self._cut_bytes += size_bytes
            self._report_soon()

    def _drop(self, count: int, last: bytes) -> None:
        self._dropped_count += count
        self._dropped_last = last
        self._report_soon()

    def _report_soon(self) -> None:
        self._turns.is_flood = True
        if self._telling is None:
            self._telling = self._loop.call_later(TELL_EVERY_S, self._report_dropped)

    def _report_dropped(self) -> None:
        """Log how many lines, and bytes of long lines, were dropped since the last report."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
            facts = {"child": self._name, "lines": self._dropped_count, "cut_bytes": self._cut_bytes}
            log.warning(
                "output dropped: a process prints more than is logged",
                extra={"event": "child-lines-dropped", **facts},
            )
            self._dropped_count = self._cut_bytes = 0

    def _pass_on(self, line: bytes) -> None:
        if line.strip():
            self._printed(line.decode("utf-8", "replace"))

    def _close(self) -> None:
        """Close the pipe, and pass on what was read and the last lines dropped since the last report."""
        if self._fd < 0:
            return
        self._turns.close()
        os.close(self._fd)
        self._fd = -1
        last = self._dropped_last.split(b"\n")[-LAST_LINES_MOST:] if self._dropped_count else []
        self._report_dropped()
        for line in (*self._turns.waiting, *last, self._rest):
            self._pass_on(line)
