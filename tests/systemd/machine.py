"""A small machine with a real systemd as its PID 1, made of this host's own /usr.

`systemd-nspawn` boots an almost empty root folder: /usr is the host's, read-only; /etc and
/var are fresh; of networks there is only loopback. No mirror and no image is needed, a boot takes
a second, and the interpreter finds the libraries it was built for. The project is put where the
unit file expects it, /opt/rem-supervisor. Commands enter through `nsenter`, so neither machined
nor a bus of the host is asked. Nothing is left behind: folders, mounts, cgroups, processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Optional

from tests.end_to_end.running_service import wait_for
from tests.systemd.root_folder import (
    LIBPYTHON,
    LIBRARIES,
    PYTHON_HOME,
    furnish,
    python_is_in_usr,
    system_folders,
)

NEEDED = ("systemd-nspawn", "nsenter", "unshare", "setpriv", "mount")
BOOT_LIMIT_S = 60.0
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "SYSTEMD_PAGER=", LIBPYTHON)


class CannotBoot(Exception):
    """This host can't run such a machine; the text says why."""


def why_not() -> str:
    """Say what this host lacks; empty: it may be tried."""
    if os.geteuid() != 0:
        return "it takes root: sudo make test-systemd"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian and Ubuntu: apt install systemd-container)"
    if not _init().exists():
        return f"there is no {_init()}"
    return ""


class Machine:
    """A booted machine. Use `booted`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = f"rem-{uuid.uuid4().hex[:8]}"
        self._cgroups = [folder / self.name for folder in _own_cgroups()]
        furnish(root)
        with (root.parent / "nspawn.log").open("wb") as log:
            self._process = self._start(log)
        self.leader = 0

    @property
    def pid(self) -> int:
        """The process on this host whose end is the machine's."""
        return self._process.pid

    def run(self, *words: str, check: bool = True, limit_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; fails with its words where it fails, unless told otherwise."""
        done = subprocess.run(
            self._inside(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command inside that is spoken with line by line; the caller ends it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self._inside(words), stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def path(self, inside: str) -> Path:
        """Give this host's path of a file inside."""
        return self.root / inside.lstrip("/")

    def wait_booted(self) -> None:
        """Wait until PID 1 has reached its target. Raises `CannotBoot` with what nspawn said."""

        def up() -> bool:
            if self._process.poll() is not None:
                raise CannotBoot(self._last_words())
            self.leader = self.leader or _first_inside(_first_inside(self._process.pid))
            done = self.leader and self.run("systemctl", "is-system-running", check=False)
            # degraded: a unit of the host's /usr did not like it here, which is not ours to judge.
            return bool(done) and done.stdout.strip() in ("running", "degraded")

        try:
            wait_for(up, "the machine's multi-user.target", BOOT_LIMIT_S)
        except AssertionError as error:
            raise CannotBoot(f"{error}; {self._last_words()}") from None

    def power_off(self) -> None:
        """End the machine and take everything away that was made for it."""
        if self._process.poll() is None:
            nspawn = _first_inside(self._process.pid)
            if nspawn:
                os.kill(nspawn, signal.SIGTERM)  # it asks its PID 1 to power off
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        for cgroup in self._cgroups:
            _end_cgroup(cgroup)
        shutil.rmtree(self.root)

    def _inside(self, words: Sequence[str]) -> list[str]:
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={self.leader}", *spaces, "--", "env", "-i", *_ENVIRONMENT, *words]

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        for cgroup in self._cgroups:
            with contextlib.suppress(OSError):
                cgroup.mkdir()
        # A /run of its own, in a mount namespace of its own: nspawn's locks and mounts end with it.
        script = (
            'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; '
            'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"'
        )
        return subprocess.Popen(
            # However the tests end, the machine ends with them: the end of a pid namespace takes all in it.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child",
             "--mount-proc", "sh", "-c", script, "sh",
             *(str(cgroup / "cgroup.procs") for cgroup in self._cgroups if cgroup.is_dir()), "--",
             *self._nspawn()],
            # On a host of mixed hierarchies too: in version 1 nobody tells a container's systemd that
            # a cgroup is empty, and it waits for its time limit instead.
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )  # fmt: skip

    def _nspawn(self) -> list[str]:
        words = ["systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={self.name}", "--boot"]
        words += ["--register=no", "--keep-unit", "--private-network", "--console=pipe", "--link-journal=no"]
        words += ["--resolv-conf=off", "--timezone=off", "--kill-signal=SIGRTMIN+3"]
        words += [f"--bind-ro={folder}" for folder in system_folders()]
        words.append(f"--bind-ro={sysconfig.get_path('purelib')}:{LIBRARIES}")
        if not python_is_in_usr():
            words.append(f"--bind-ro={sys.base_prefix}:{PYTHON_HOME}")
        return [*words, "--", "--unit=multi-user.target"]

    def _last_words(self) -> str:
        text = (self.root.parent / "nspawn.log").read_text(encoding="utf-8", errors="replace")
        return " ".join(text.split())[-600:] or "nspawn said nothing"


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine in `folder` and end it. Raises `CannotBoot`."""
    machine = Machine(folder / "root")
    try:
        machine.wait_booted()
        yield machine
    finally:
        machine.power_off()


def _init() -> Path:
    return Path("/lib/systemd/systemd")


def _own_cgroups() -> list[Path]:
    """Give our folder in each hierarchy by which a systemd finds its processes."""
    found = []
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in {"name=systemd": ["systemd"], "": ["", "unified"]}.get(controllers, []):
            folder = Path("/sys/fs/cgroup") / name / path.lstrip("/")
            if (folder / "cgroup.procs").exists():
                found.append(folder)
    return found


def _end_cgroup(folder: Path) -> None:
    """Remove a cgroup and all below it; what lives in it is killed first."""
    if not folder.is_dir():
        return
    below = sorted((path for path in folder.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))

    def gone() -> bool:
        for cgroup in (*below, folder):
            with contextlib.suppress(OSError):
                for pid in (cgroup / "cgroup.procs").read_text(encoding="ascii").split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                cgroup.rmdir()
        return not folder.is_dir()

    wait_for(gone, f"the end of {folder}", 10)


def _first_inside(pid: int) -> int:
    """Give the child of a process that is PID 1 of a namespace of its own; 0 while there is none."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            if len(_numbers(child)) > len(_numbers(str(pid))) and _numbers(child)[-1] == "1":
                return int(child)
    return 0


def _numbers(pid: str) -> list[str]:
    """Give a process's number in each pid namespace, this one's first."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]


def leftovers(name: str) -> Optional[str]:
    """Name something of a machine that is still there."""
    for folder in _own_cgroups():
        if (folder / name).exists():
            return str(folder / name)
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    return f"a mount of {name}" if name in mounts else None
