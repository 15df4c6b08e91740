"""Short-lived child processes for verbs that need a library such as boto3 or faster-whisper.

The command itself imports neither. A child gets all settings in its environment, so it reads
no settings file, and it writes one JSON object per line to stdout. Its stderr is kept for the
error message.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Callable, Optional

from supervisor.cli.client.errors import CommandFailed
from supervisor.contract import child_bootstrap
from supervisor.contract.exits import Exit, describe
from supervisor.contract.wire import framing
from supervisor.processes import env_allowlist
from supervisor.processes.bound_process import bound_command
from supervisor.processes.python_command import finding_us

if TYPE_CHECKING:
    from supervisor.settings.load import Loaded

STOP_WITHIN_S = 5.0
_TICK_S = 0.3


def for_broker(loaded: Loaded, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of the broker's helper process: all of ours, AWS names of `.env`, the settings."""
    dumped = child_bootstrap.dump_settings(loaded.settings)
    return env_allowlist.for_broker(environ, loaded.aws_environment, dumped)


def for_engine(environ: Mapping[str, str], offline: bool = False) -> dict[str, str]:
    """Give the environment of a worker's or gpuwatch's helper process: no credentials in it."""
    kept = env_allowlist.for_model_fetch(environ)
    return {**kept, "HF_HUB_OFFLINE": "1"} if offline else kept


class HelperProcess:
    """One child process. Use it in a `with`: it ends with the block, and with this process."""

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        env: Mapping[str, str],
        stdin: Optional[IO[Any]] = None,
        request: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """`request` goes to the child's stdin as JSON, so file names in it can't be read as options."""
        self._request = request
        self.name = f"{module} {args[0] if args else ''}".strip()
        self._command = bound_command(module, args)
        self._env = finding_us(env)
        self._stdin = stdin

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def __enter__(self) -> HelperProcess:
        self._files = contextlib.ExitStack()  # closed in __exit__
        self._complaints = self._files.enter_context(tempfile.TemporaryFile())
        if self._request is not None:
            self._stdin = self._files.enter_context(tempfile.TemporaryFile())
            # A file, because a pipe would block on thousands of names before the child reads them.
            self._stdin.write(json.dumps(self._request).encode("ascii"))
            self._stdin.seek(0)
        with _ctrl_c_waits() as came:
            self._child = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=self._stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
            )
        if came:
            self.__exit__()
            raise KeyboardInterrupt
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop the child if it still runs: SIGTERM first, then SIGKILL."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()
        self._files.close()

    def lines(self, between: Callable[[], None] = lambda: None) -> Iterator[dict[str, Any]]:
        """Give each JSON line as it arrives; `between` is called about three times a second meanwhile."""
        splitter = framing.LineSplitter()
        for data in self._chunks(between):
            for line in splitter.feed(data):
                try:
                    yield framing.decode_line(line)
                except framing.BadLine:
                    continue  # printed by a library; a failure shows in the exit code

    def output(self) -> bytes:
        """Give all that the child writes."""
        return b"".join(self._chunks(lambda: None))

    def finish(self, fine: Sequence[int] = (Exit.OK,)) -> int:
        """Wait for the child to exit and give its code. Raises `CommandFailed` if it is not one of `fine`."""
        code = self._child.wait()
        if code not in fine:
            wrong = Exit.SETTINGS_WRONG if code == Exit.SETTINGS_WRONG else Exit.FAILED
            raise CommandFailed(
                self.complaint() or f"{self.name}: {describe(code)}, without an error message", wrong
            )
        return code

    def complaint(self, whole: bool = False) -> str:
        """Give the end of the child's stderr, or all of it."""
        self._complaints.seek(0)
        text = self._complaints.read().decode("utf-8", "replace").strip()
        if whole:
            return text
        return "\n".join(text.splitlines()[-8:])

    def _chunks(self, between: Callable[[], None]) -> Iterator[bytes]:
        assert self._child.stdout is not None  # noqa: S101  # we asked for a pipe
        pipe = self._child.stdout.fileno()
        while True:
            if not select.select([pipe], [], [], _TICK_S)[0]:
                between()
                continue
            data = os.read(pipe, 65_536)
            if not data:
                return
            yield data


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[list[int]]:
    """Delay SIGINT until the child is known and can be stopped; gives the list of delayed signals."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # Python delivers signals to the main thread only
        return
    before = signal.signal(signal.SIGINT, lambda signum, _frame: came.append(signum))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
