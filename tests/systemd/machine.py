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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Optional

from tests.processes.rem_service import REPOSITORY, wait_for

NEEDED = ("systemd-nspawn", "nsenter", "unshare", "setpriv", "mount")
BOOT_LIMIT_S = 60.0
HOME = Path("/opt/rem-supervisor")
PYTHON_HOME = Path("/opt/python")
LIBRARIES = Path("/opt/libraries")
# An interpreter with a libpython of its own looks for it where it was installed: mostly a home folder.
LIBPYTHON = f"LD_LIBRARY_PATH={PYTHON_HOME}/lib"
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
        _furnish(root)
        with (root.parent / "nspawn.log").open("wb") as log:
            self._process = self._start(log)
        self.leader = 0

    def run(self, *words: str, check: bool = True, limit_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; fails with its words where it fails, unless told otherwise."""
        enter = (
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
        )
        done = subprocess.run(
            [*enter, "--", "env", "-i", *_ENVIRONMENT, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def path(self, inside: str) -> Path:
        """Give this host's path of a file inside."""
        return self.root / inside.lstrip("/")

    def wait_booted(self) -> None:
        """Wait until PID 1 has reached its target. Raises `CannotBoot` with what nspawn said."""

        def up() -> bool:
            if self._process.poll() is not None:
                raise CannotBoot(self._last_words())
            self.leader = self.leader or _first_inside(self._process.pid)
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
            self._process.send_signal(signal.SIGTERM)  # nspawn asks PID 1 to power off
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        for cgroup in self._cgroups:
            _end_cgroup(cgroup)
        shutil.rmtree(self.root)

    def _start(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        for cgroup in self._cgroups:
            with contextlib.suppress(OSError):
                cgroup.mkdir()
        # A /run of its own, in a mount namespace of its own: nspawn's locks and mounts end with it.
        script = (
            'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; '
            'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"'
        )
        return subprocess.Popen(
            # However the tests end, the machine ends with them.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", script, "sh",
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
        words += [f"--bind-ro={folder}" for folder in _system_folders()]
        words.append(f"--bind-ro={sysconfig.get_path('purelib')}:{LIBRARIES}")
        if not _python_is_in_usr():
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


def _furnish(root: Path) -> None:
    """Make the root folder: links into /usr, an empty /etc with our files, the project."""
    for name in (
        "etc/systemd/system",
        "etc/sysusers.d",
        "usr/lib",
        "var",
        "tmp",
        "root",
        "run",
        "proc",
        "sys",
        "dev",
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    for name in ("bin", "sbin", "lib", "lib64"):
        host = Path("/", name)
        if host.is_symlink():
            (root / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            (root / name).mkdir()
    # nspawn wants to see an operating system before it mounts /usr.
    shutil.copy("/usr/lib/os-release", root / "usr/lib/os-release")
    # With an id this is no first boot, on which systemd would switch on every unit that the host has.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    for name in ("ld.so.cache", "ld.so.conf"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)
    deploy = REPOSITORY / "deploy"
    shutil.copy(deploy / "rem-supervisor.service", root / "etc/systemd/system/rem-supervisor.service")
    shutil.copy(deploy / "rem-supervisor.sysusers", root / "etc/sysusers.d/rem-supervisor.conf")
    _install(root / HOME.relative_to("/"))


def _install(home: Path) -> None:
    """Put the project and an environment like `make venv`'s there; libraries are bound, not copied."""
    for package in ("supervisor", "workerproc"):
        shutil.copytree(REPOSITORY / package, home / package, ignore=shutil.ignore_patterns("__pycache__"))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site, programs = home / ".venv/lib" / version / "site-packages", home / ".venv/bin"
    site.mkdir(parents=True)
    programs.mkdir()
    python = _python_inside()
    (home / ".venv/pyvenv.cfg").write_text(f"home = {python.parent}\n", encoding="utf-8")
    (programs / "python").symlink_to(python)
    (site / "rem.pth").write_text(f"{HOME}\n{LIBRARIES}\n", encoding="utf-8")
    command = programs / "rem-supervisor"
    body = "import sys\nfrom supervisor.cli import main\nsys.exit(main())\n"
    command.write_text(f"#!{HOME}/.venv/bin/python\n{body}", encoding="utf-8")
    command.chmod(0o755)
    # A checkout may be closed to others; in /opt the service's user must be able to read it.
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path == command else 0o644)


def _python_is_in_usr() -> bool:
    return Path("/usr") in (Path(sys.base_prefix), *Path(sys.base_prefix).parents)


def _python_inside() -> Path:
    """Say where this interpreter is found inside the machine."""
    real = Path(os.path.realpath(sys.executable))
    return real if _python_is_in_usr() else PYTHON_HOME / real.relative_to(os.path.realpath(sys.base_prefix))


def _system_folders() -> list[str]:
    """Give the folders that hold the system: /usr, and /bin and the like where they are no links into it."""
    more = [f"/{name}" for name in ("bin", "sbin", "lib", "lib64")]
    return ["/usr", *(folder for folder in more if os.path.isdir(folder) and not os.path.islink(folder))]


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
    """Give the child of nspawn that is PID 1 in its own namespace; 0 while there is none."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            status = Path(f"/proc/{child}/status").read_text(encoding="utf-8", errors="replace")
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            if len(numbers) > 2 and numbers[-1] == "1":
                return int(child)
    return 0


def leftovers(name: str) -> Optional[str]:
    """Name something of a machine that is still there."""
    for folder in _own_cgroups():
        if (folder / name).exists():
            return str(folder / name)
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    return f"a mount of {name}" if name in mounts else None
