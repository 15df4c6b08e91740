"""Runs a complete service for one demo, with its own state directory and no account.

It never uses AWS: AWS variables are removed from its environment, the backend is the embedded
one, and its config.toml is in a folder without a `.env`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from supervisor.cli.client.control_client import NotRunning
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.submission import status_or_none
from supervisor.cli.text.text_format import bytes_text
from supervisor.contract import clock
from supervisor.contract.exits import describe
from supervisor.contract.whisper_names import is_folder
from supervisor.processes.bound_process import bound_command
from supervisor.processes.python_command import finding_us
from supervisor.settings.load import ENVIRONMENT, load_settings
from supervisor.settings.mistakes import SettingsWrong

MODEL = "tiny.en"  # installed as a package: no download
_DROPPED = ("REM_SOCKET", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET")
_DROPPED_PREFIXES = ("AWS_", "WATCHDOG_", "LISTEN_")
_LOOK_EVERY_S = 0.25
_STOP_WITHIN_S = 30.0  # only clean-up is left to do by then
_NOW_WITHIN_S = 10.0  # after the second signal
_GONE_WITHIN_S = 5.0
_LAST_LINES = 15
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo_environment(environ: Mapping[str, str], state_dir: str) -> dict[str, str]:
    """Give the demo's environment: all settings at their defaults, except the model."""
    dropped = {*_DROPPED, *ENVIRONMENT}
    kept = {
        name: value
        for name, value in environ.items()
        if name not in dropped and not name.startswith(_DROPPED_PREFIXES)
    }
    kept["WHISPER_MODEL"] = _found_from_anywhere(environ.get("WHISPER_MODEL", "").strip() or MODEL)
    kept["REM_BACKEND"] = "local"
    kept["REM_STATE_DIR"] = state_dir
    # In addition: if anything used boto3 after all, it must not find an instance role.
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    return kept


def _found_from_anywhere(model: str) -> str:
    """Give a model's folder as a full path: the service runs in another working folder."""
    return str(Path(model).expanduser().absolute()) if is_folder(model) else model


class ServiceFailed(CommandFailed):
    """The demo's service did not start, or exited early; its log says why."""


class DemoService:
    """Use it in a `with`: the end of the block stops the service and removes its folder."""

    def __init__(self, environ: Mapping[str, str], keep: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rem-demo-"))
        self.log = self.folder / "service.log"
        self._status: Any = None  # the latest
        self.environment = demo_environment(environ, str(self.folder / "state"))
        self.left_over: tuple[int, ...] = ()
        self.returncode: Optional[int] = None
        self.last_words: list[str] = []  # the end of its log before it was stopped, or after that failed
        self._config = self.folder / "config.toml"
        self._config.write_text('[log]\nformat = "text"\n', encoding="utf-8")
        try:
            self.loaded = load_settings(str(self._config), environ=self.environment)
        except SettingsWrong:  # the model is the user's choice
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._keep = keep
        self._seen: dict[int, str] = {}  # pid -> its start time, because pids are reused

    def __enter__(self) -> DemoService:
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                bound_command("supervisor", ["run", "--config", str(self._config)]),
                env=finding_us(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the demo, which then stops the service
            )
        self._remember(self._child.pid)
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self.stop(in_a_hurry=kind is not None)
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> Any:
        """Give the service's status, None if it does not reply; raises `ServiceFailed` if it exited."""
        if self._child.poll() is not None:
            raise ServiceFailed(f"the service ended: {describe(self._child.returncode)}")
        try:
            status = status_or_none(self.loaded.settings, self.environment)
        except NotRunning:
            return None
        for pid in _pids(status):
            self._remember(pid)
        self._status = status
        return status

    def statuses(self) -> Iterator[Any]:
        """Give the status repeatedly, four times a second."""
        while True:
            yield self.status()
            time.sleep(_LOOK_EVERY_S)

    def model_news(self) -> str:
        """Say how far the model's download is; empty: there is none."""
        fetches = (self._status or {}).get("supervisor", {}).get("model_fetches") or ()
        under_way = next((fetch for fetch in fetches if fetch["percent"] < 100), None)
        if under_way is None:
            return ""
        return f"fetching the model: {under_way['percent']} % of {bytes_text(under_way['total_bytes'])}"

    def stop(self, in_a_hurry: bool = False) -> None:
        """Stop the service; sets `returncode` and `left_over` (pids that had to be killed)."""
        if self.returncode is not None:
            return
        # A second Ctrl-C must not leave it running.
        held_back = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
        try:
            self.last_words = self._log_lines()  # before lines about stopping hide the cause
            self.returncode = self._ended(_LOOK_EVERY_S if in_a_hurry else _STOP_WITHIN_S)
            self.left_over = tuple(pid for pid in self._seen if not self._is_gone(pid))
            for pid in self.left_over:
                os.kill(pid, signal.SIGKILL)
            if self.left_over or self.returncode:
                self.last_words = self._log_lines()
        finally:
            for number, handler in held_back.items():
                signal.signal(number, handler)

    def _log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]

    def _ended(self, patience_s: float) -> int:
        """Send SIGTERM, SIGTERM again to exit immediately, then SIGKILL."""
        for ask, wait_s in (
            (signal.SIGTERM, patience_s),
            (signal.SIGTERM, _NOW_WITHIN_S),
            (signal.SIGKILL, _GONE_WITHIN_S),
        ):
            if self._child.poll() is None:
                self._child.send_signal(ask)
            try:
                return self._child.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
        raise ServiceFailed(f"the service (pid {self._child.pid}) can't be stopped. Its log: {self.log}")

    def _remember(self, pid: int) -> None:
        self._seen.setdefault(pid, _birth(pid))

    def _is_gone(self, pid: int) -> bool:
        """Wait a few seconds for a process to exit; a new process with the same pid does not count."""
        gone_by_s = clock.now_s() + _GONE_WITHIN_S
        while self._seen[pid] and _birth(pid) == self._seen[pid]:
            if clock.now_s() > gone_by_s:
                return False
            time.sleep(0.05)
        return True


def _pids(status: Any) -> Iterator[int]:
    slots = status.get("slots") if isinstance(status, dict) else None
    for slot in slots if isinstance(slots, list) else []:
        pid = slot.get("pid") if isinstance(slot, dict) else None
        if isinstance(pid, int):
            yield pid


def _birth(pid: int) -> str:
    """Give a process's start time in kernel ticks; empty if it does not exist or is a zombie."""
    try:
        after_name = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
