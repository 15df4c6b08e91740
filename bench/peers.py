"""The peers: supervisord, circus and gunicorn from PyPI, runit from Debian.

Each is configured as its own manual would have it for a worker that must always run, with
no more patience than it insists on. Installed into a folder of their own, never beside us.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools import HERE, SETTLED_S, Crew, Tool, children_of

WORKER = str(HERE / "trivial_worker.sh")
REST = ("sleep", "1000000")


class Peer:
    """What the peers have in common."""

    name = ""
    stop_signal: int = signal.SIGTERM
    provisioner: type[Crew] = Crew

    def __init__(self, home: Path) -> None:
        self.bin = home / "bin"

    def wait_settled(self, provisioner: Crew, slots: int) -> None:
        time.sleep(SETTLED_S)  # none of them tells when a worker counts as running

    def status(self, folder: Path) -> Sequence[str]:
        return ()


class Supervisord(Peer):
    name = "supervisord 4.3"

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        (folder / "conf").write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n"
            f"childlogdir={folder}\n[unix_http_server]\nfile={folder}/socket\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{folder}/socket\n"
            f"[program:w]\ncommand=/bin/sh {WORKER} {fifo} {' '.join(REST)}\nnumprocs={slots}\n"
            "process_name=w%(process_num)d\nautorestart=true\nstartsecs=1\n"
            "stdout_logfile=NONE\nstderr_logfile=NONE\n"
        )
        return (str(self.bin / "supervisord"), "-c", str(folder / "conf")), {}

    def status(self, folder: Path) -> Sequence[str]:
        return (str(self.bin / "supervisorctl"), "-c", str(folder / "conf"), "status")


class Circus(Peer):
    name = "circus 0.19"

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        (folder / "ini").write_text(
            f"[circus]\nendpoint=ipc://{folder}/endpoint\npubsub_endpoint=ipc://{folder}/pubsub\n"
            # It looks for dead workers so often, by itself each 5 s.
            f"check_delay=1\n[watcher:w]\nnumprocesses={slots}\n"
            f"cmd=/bin/sh {WORKER} {fifo} {' '.join(REST)}\n"
        )
        return (str(self.bin / "circusd"), str(folder / "ini")), {}

    def status(self, folder: Path) -> Sequence[str]:
        # `circusctl list` asks for the workers; `status` shows the watcher alone.
        return (str(self.bin / "circusctl"), "--endpoint", f"ipc://{folder}/endpoint", "list", "w")


class Gunicorn(Peer):
    name = "gunicorn 27"

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        (folder / "gunicorn.conf.py").write_text(
            f"import os\nbind = 'unix:{folder}/socket'\nworkers = {slots}\n"
            f"control_socket_disable = True\n"
            "def post_fork(server, worker):\n"
            f"    fd = os.open({str(fifo)!r}, os.O_WRONLY)\n"
            "    os.write(fd, b'%d\\n' % os.getpid())\n"
            "    os.close(fd)\n"
        )
        (folder / "app.py").write_text("def app(environ, start_response):\n    return []\n")
        return (str(self.bin / "gunicorn"), "-c", str(folder / "gunicorn.conf.py"), "app:app"), {}


class RunitCrew(Crew):
    def managers(self) -> list[int]:
        """`runsvdir`, and a `runsv` for each service."""
        return [self.process.pid, *self._runsv()]

    def _runsv(self) -> list[int]:
        found = children_of(self.process.pid)
        self.seen = sorted({*getattr(self, "seen", ()), *found})  # they outlive their parent
        return self.seen


class Runit(Peer):
    name = "runit"
    provisioner: type[Crew] = RunitCrew
    stop_signal: int = signal.SIGHUP  # on SIGTERM `runsvdir` leaves everything running

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        for n in range(slots):
            run = folder / "services" / f"w{n}" / "run"
            run.parent.mkdir(parents=True)
            # What it runs is a script in any case: the worker's own statements, not a shell that starts it.
            run.write_text(f"#!/bin/sh\necho $$ > {fifo}\nexec {' '.join(REST)}\n")
            run.chmod(0o755)
        path = f"{self.bin}:{os.environ['PATH']}"
        return (str(self.bin / "runsvdir"), str(folder / "services")), {"PATH": path}

    def status(self, folder: Path) -> Sequence[str]:
        services = sorted(str(path) for path in (folder / "services").iterdir())
        return (str(self.bin / "sv"), "status", *services)


def install(home: Path) -> list[Tool]:
    """Put the peers under `home`, once; give those that can be had here, and say which can't."""
    peers: list[Tool] = []
    if not (home / "pypi" / "bin" / "gunicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home / "pypi")], check=True)
        pip = [str(home / "pypi" / "bin" / "python"), "-m", "pip", "install", "-qq"]
        done = subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=False)
        if done.returncode:
            print("SKIPPED: supervisord, circus and gunicorn, which pip could not install")
    if (home / "pypi" / "bin" / "gunicorn").exists():
        peers += [Supervisord(home / "pypi"), Circus(home / "pypi"), Gunicorn(home / "pypi")]
    runit = _runit(home / "runit")
    if runit is None:
        print("SKIPPED: runit, which is neither installed nor to be had with apt-get")
    else:
        peers.append(Runit(runit))
    return peers


def _runit(home: Path) -> Path | None:
    """Find runit on this machine, or unpack Debian's package without installing it."""
    found = shutil.which("runsvdir")
    if found:
        return Path(found).parent.parent
    if not (home / "usr" / "bin" / "runsvdir").exists():
        home.mkdir(parents=True, exist_ok=True)
        try:
            quiet = {"cwd": home, "check": True, "capture_output": True}
            subprocess.run(["apt-get", "download", "runit"], **quiet)  # type: ignore[call-overload]
            package = next(home.glob("runit_*.deb"))
            subprocess.run(["dpkg", "-x", str(package), str(home)], **quiet)  # type: ignore[call-overload]
        except (OSError, subprocess.CalledProcessError, StopIteration):
            return None
    return home / "usr"
