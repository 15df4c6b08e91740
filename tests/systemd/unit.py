"""The installed unit inside the machine: what systemd says of it, and what it says of itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from tests.end_to_end.running_service import wait_for
from tests.end_to_end.senders import LocalSender, transcript_of
from tests.systemd.machine import Machine
from tests.systemd.root_folder import HOME, LIBPYTHON

T = TypeVar("T")

NAME = "rem-supervisor.service"
COMMAND = f"{HOME}/.venv/bin/rem-supervisor"
SAMPLES = f"{HOME}/supervisor/samples"
STATE = "/var/lib/rem-supervisor"
DROP_INS = f"/run/systemd/system/{NAME}.d"


class Unit:
    """rem-supervisor.service of one machine, with one worker on the embedded backend."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._sender: Optional[LocalSender] = None

    # --- what a person does -----------------------------------------------------------

    def make_fresh(self) -> None:
        """Stop it and forget everything: state, settings, drop-ins, failures, restarts."""
        self.stop(check=False)
        self.machine.run("systemctl", "reset-failed", NAME, check=False)
        self.machine.run("rm", "-rf", DROP_INS, f"{STATE}", "/root/.local")
        shutil.rmtree(self.machine.path("/etc/rem-supervisor"), ignore_errors=True)
        self.set_environment()
        self.set_config("[devices]\ncpu_slots = 1\n")
        self.machine.run("systemctl", "daemon-reload")

    def set_environment(self, **more: str) -> None:
        names = {"REM_BACKEND": "local", "WHISPER_MODEL": "tiny.en", **more}
        lines = [f"{name}={value}" for name, value in names.items()] + [LIBPYTHON]
        self._write("/etc/rem-supervisor/environment", "\n".join(lines) + "\n")

    def set_config(self, toml: str) -> None:
        self._write("/etc/rem-supervisor/config.toml", toml)

    def drop_in(self, *lines: str) -> None:
        """Change lines of [Service], as `systemctl edit` does, until the machine ends."""
        text = "\n".join(("[Service]", *lines, ""))
        self.machine.run(
            "sh", "-c", f'mkdir -p {DROP_INS} && printf %s "$1" > {DROP_INS}/test.conf', "sh", text
        )
        self.machine.run("systemctl", "daemon-reload")

    def start(self) -> None:
        """Start it and wait until it is active."""
        self.machine.run("systemctl", "start", NAME, limit_s=90)

    def stop(self, check: bool = True) -> None:
        self.machine.run("systemctl", "stop", NAME, check=check, limit_s=140)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `rem-supervisor` in a root shell that was told nothing."""
        return self.machine.run(COMMAND, *words, check=False, limit_s=90)

    def submit(self, name: str) -> str:
        """Enqueue a sample; give the recording's id."""
        done = self.command("submit", f"{SAMPLES}/{name}")
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    def kill(self, signum: str) -> None:
        """Send a signal to the main process alone."""
        self.machine.run("kill", f"-{signum}", str(self.main_pid()))

    # --- what systemd says ------------------------------------------------------------

    def show(self, *names: str) -> dict[str, str]:
        """Give properties as `systemctl show` has them."""
        said = self.machine.run("systemctl", "show", f"--property={','.join(names)}", NAME).stdout
        return dict(line.split("=", 1) for line in said.splitlines())

    def get(self, name: str) -> str:
        return self.show(name)[name]

    def main_pid(self) -> int:
        return int(self.get("MainPID"))

    def restarts(self) -> int:
        return int(self.get("NRestarts"))

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={NAME}").stdout

    # --- what the service says, and leaves --------------------------------------------

    def status(self) -> Optional[dict[str, Any]]:
        """Ask as `status --json` does, without its price; None while nobody answers."""
        try:
            said = json.loads(self.machine.path(f"{STATE}/supervisor.json").read_bytes())
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(f"/proc/{self.machine.leader}/root{said['socket']}")
                link.sendall(b'{"do": "status"}\n')
                with link.makefile("rb") as lines:
                    return dict(json.loads(lines.readline())["status"])
        except (OSError, ValueError, KeyError):
            return None

    def workers(self) -> list[dict[str, Any]]:
        status = self.status()
        return [slot for slot in status["slots"] if slot["kind"] == "worker"] if status else []

    def wait_ready_after(self, pid: int) -> None:
        """Wait until another main process than `pid` is active."""

        def back() -> bool:
            now = self.show("ActiveState", "MainPID")
            return now["ActiveState"] == "active" and int(now["MainPID"]) not in (0, pid)

        self._wait(back, f"a successor of {pid}")

    def wait_in_mid_job(self) -> None:
        def busy() -> bool:
            return any(0 < job["progress_ratio"] < 1 for slot in self.workers() for job in slot["jobs"])

        self._wait(busy, "a job at work")

    def sender(self) -> LocalSender:
        """Look into the embedded queue and store, from outside the machine; it must have been started."""
        if self._sender is None:
            self._sender = LocalSender(self.machine.path(f"{STATE}/local"))
        return self._sender

    def transcript(self, recording_id: str) -> Optional[dict[str, Any]]:
        """Give the transcript once the record says that it is done."""
        record = self.sender().record(recording_id)
        assert record.get("remState") != "FAILED", record
        return transcript_of(self.sender(), record) if record.get("remState") == "DONE" else None

    def wait_done_once(self, recording_id: str) -> None:
        """Wait for the recording's transcript: one, with nothing left in the queue."""
        found = self._wait(lambda: self.transcript(recording_id), f"the transcript of {recording_id}")
        self._wait(lambda: self.sender().left() == 0, "an empty queue")
        objects = self.sender().transcripts()
        assert found["fullText"]
        assert len([key for key in objects if key.endswith(f"{recording_id}.json")]) == 1, list(objects)

    def processes(self) -> dict[int, str]:
        """Give our processes that live in the machine: pid as this host counts, and command line."""
        space = os.readlink(f"/proc/{self.machine.leader}/ns/pid")
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if str(HOME) in words and os.readlink(folder / "ns/pid") == space:
                    found[int(folder.name)] = words.strip()
            except OSError:
                continue
        return found

    def wait_drained(self) -> None:
        def drained() -> bool:
            return ((self.status() or {}).get("supervisor") or {}).get("state") == "drained"

        self._wait(drained, "drained")

    def _wait(self, fact: Callable[[], Optional[T]], what: str) -> T:
        """Wait for a fact; in vain, show the journal as well."""
        try:
            return wait_for(fact, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the journal ends\n{self.journal()[-6000:]}") from None

    def worker_pids(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if words.endswith("-m workerproc")]

    def _write(self, path: str, text: str) -> None:
        file = self.machine.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
