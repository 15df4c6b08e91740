"""The root folder of the machine: links into this host's /usr, our own /etc, the project in /opt.

The project is put where the unit file expects it, with an environment like `make venv`'s:
the same interpreter and the same libraries, bound instead of copied.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
import wave
from pathlib import Path

import av

from tests.end_to_end.running_service import REPOSITORY

HOME = Path("/opt/rem-supervisor")
PYTHON_HOME = Path("/opt/python")
LIBRARIES = Path("/opt/libraries")
# An interpreter with a libpython of its own looks for it where it was installed: mostly a home folder.
LIBPYTHON = f"LD_LIBRARY_PATH={PYTHON_HOME}/lib"


def furnish(root: Path) -> None:
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
    _lengthen(REPOSITORY / "supervisor/samples/lighthouse.ogg", home / "supervisor/samples/long.wav")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site, programs = home / ".venv/lib" / version / "site-packages", home / ".venv/bin"
    site.mkdir(parents=True)
    programs.mkdir()
    python = _python_inside()
    (home / ".venv/pyvenv.cfg").write_text(f"home = {python.parent}\n", encoding="utf-8")
    (programs / "python").symlink_to(python)
    (site / "rem.pth").write_text(f"{HOME}\n{LIBRARIES}\n", encoding="utf-8")
    command = programs / "rem-supervisor"
    body = "import sys\nfrom supervisor.cli.main import main\nsys.exit(main())\n"
    command.write_text(f"#!{HOME}/.venv/bin/python\n{body}", encoding="utf-8")
    command.chmod(0o755)
    # A checkout may be closed to others; in /opt the service's user must be able to read it.
    for path in (home, *home.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path == command else 0o644)


def _lengthen(sample: Path, into: Path) -> None:
    """Say a recording six times: a worker must still be at it when a test looks.

    Seven minutes fill more than one batch of eight windows, so that progress shows before the end.
    The recording has over a minute: what repeats itself within Whisper's 30 s is decoded many times.
    """
    resample = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(sample)) as source:
        frames = [part for frame in source.decode(audio=0) for part in resample.resample(frame)]
    with wave.open(str(into), "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        for frame in frames * 6:
            target.writeframes(frame.to_ndarray().tobytes())


def python_is_in_usr() -> bool:
    return Path("/usr") in (Path(sys.base_prefix), *Path(sys.base_prefix).parents)


def _python_inside() -> Path:
    """Say where this interpreter is found inside the machine."""
    real = Path(os.path.realpath(sys.executable))
    return real if python_is_in_usr() else PYTHON_HOME / real.relative_to(os.path.realpath(sys.base_prefix))


def system_folders() -> list[str]:
    """Give the folders that hold the system: /usr, and /bin and the like where they are no links into it."""
    more = [f"/{name}" for name in ("bin", "sbin", "lib", "lib64")]
    return ["/usr", *(folder for folder in more if os.path.isdir(folder) and not os.path.islink(folder))]
