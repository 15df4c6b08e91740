"""Who may see and do what: other users, members of `[control] group`, other processes of the same user."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.exits import Exit
from tests.end_to_end.running_service import LIMIT_S, REPOSITORY, SAMPLES, running, wait_for

pytestmark = pytest.mark.slow
NOBODY, OTHERS_GROUP = 65_534, 65_533


@lru_cache(maxsize=1)
def interpreter() -> str:
    """A Python that an ordinary user may run here: root's own may lie in a closed home. Empty: none."""
    if os.getuid() != 0:
        return ""
    test = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import supervisor.cli, tomllib"
    for path in (sys.executable, "/usr/bin/python3"):
        words = ["/bin/sh", "-c", 'exec "$0" -c "$1"', path, test]
        if subprocess.run(words, user=NOBODY, check=False, capture_output=True).returncode == 0:
            return path
    return ""


needs_another_user = pytest.mark.skipif(
    not interpreter(), reason="needs root, and a Python from 3.11 on that another user may run"
)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may pass through, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="rem-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def as_nobody(state: Path, *words: str, group: int = NOBODY) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who is not the service's."""
    environ = {"PATH": os.environ["PATH"], "REM_STATE_DIR": str(state), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [interpreter(), "-m", "supervisor", *words], user=NOBODY, group=group, extra_groups=[],
        env=environ, cwd="/", capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


@needs_another_user
@pytest.mark.parametrize(
    "words", [("status",), ("drain",), ("jobs",), ("submit", str(SAMPLES / "harbour.wav"))]
)
def test_another_user_is_told_whose_service_may_run_and_what_to_do(
    folder: Path, words: tuple[str, ...]
) -> None:
    """He was told that nothing runs and to start a service of his own; submit showed a traceback."""
    (folder / "state").mkdir(mode=0o700)

    done = as_nobody(folder / "state", *words)

    assert (done.returncode, done.stdout) == (Exit.FAILED, "")
    assert "Permission denied" in done.stderr
    assert "root" in done.stderr
    assert "sudo" in done.stderr
    assert "Traceback" not in done.stderr


@needs_another_user
def test_members_of_the_group_use_the_service_and_others_are_told_which_group(folder: Path) -> None:
    group = grp.getgrgid(NOBODY).gr_name
    config = f'[devices]\ncpu_slots = 1\n[control]\ngroup = "{group}"\n'
    (folder / "config.toml").write_text(config, encoding="utf-8")

    with running(folder / "state") as service:
        wait_for(service.status, "an answer")
        shown = as_nobody(folder / "state", "status", "--json")
        drained = as_nobody(folder / "state", "drain")
        refused = as_nobody(folder / "state", "status", group=OTHERS_GROUP)

    assert json.loads(shown.stdout)["supervisor"]["pid"] == service.process.pid
    assert drained.returncode == 0, drained.stderr
    assert refused.returncode == Exit.FAILED
    assert f"join group {group}" in refused.stderr


# --- processes of the same user -----------------------------------------------------------------

SECRET = "hunter2"


@pytest.fixture(scope="module")
def ordinary_users() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A service of somebody who is not root, whatever this test runs as, and its state directory.

    Its workers may not load. Tests only look at it: they share one, which takes ten seconds to show itself.
    """
    with open_folder() as folder:
        state = folder / "state"
        state.mkdir(mode=0o700)
        environ = {
            "PATH": os.environ["PATH"], "REM_STATE_DIR": str(state), "PYTHONPATH": str(REPOSITORY),
            "AWS_EC2_METADATA_DISABLED": "true", "WHISPER_MODEL": "tiny.en", "AWS_SECRET_ACCESS_KEY": SECRET,
        }  # fmt: skip
        if os.getuid() == 0:
            os.chown(state, NOBODY, NOBODY)
        with (folder / "log").open("wb") as log:
            service = subprocess.Popen(
                [ordinary_interpreter(), "-m", "supervisor", "run"], env=environ, cwd=folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_ordinary_user(),
            )  # fmt: skip
        try:
            wait_for(lambda: (state / "status.json").exists() and pid_of(state, "broker"), "a broker")
            yield service, state
        finally:
            service.terminate()
            service.wait(LIMIT_S)


def ordinary_interpreter() -> str:
    return interpreter() if os.getuid() == 0 else sys.executable


def as_ordinary_user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def pid_of(state: Path, name: str) -> int:
    """Give the pid of a ready slot's process, as the status file has it; 0 where there is none."""
    slots = json.loads((state / "status.json").read_text(encoding="utf-8"))["slots"]
    ready = {slot["name"]: int(slot["pid"] or 0) for slot in slots if slot["state"] == "ready"}
    return ready.get(name, 0)


needs_an_ordinary_user = pytest.mark.skipif(
    sys.platform != "linux" or not ordinary_interpreter(),
    reason="needs Linux, and as root a Python from 3.11 on that another user may run",
)
READS = """
import sys
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").read(1)
        print("read", name)
    except PermissionError:
        print("refused")
"""


@needs_an_ordinary_user
def test_no_process_of_the_same_user_reads_the_credentials_of_supervisor_and_broker(
    ordinary_users: tuple[subprocess.Popen[bytes], Path],
) -> None:
    """A worker's clean environment was worth little: it could read that of the broker."""
    service, state = ordinary_users
    for pid in (service.pid, pid_of(state, "broker")):
        done = subprocess.run(
            [ordinary_interpreter(), "-c", READS, str(pid)], capture_output=True, text=True, check=True,
            cwd="/", **as_ordinary_user(),
        )  # fmt: skip
        assert done.stdout.split() == ["refused"] * 3


@needs_an_ordinary_user
def test_a_broker_that_outlived_its_supervisor_is_found_though_it_hides_its_environment(
    ordinary_users: tuple[subprocess.Popen[bytes], Path],
) -> None:
    """The mark by which survivors are known stood in the environment alone."""
    _, state = ordinary_users
    broker = pid_of(state, "broker")
    finds = (
        "import sys; from supervisor.processes import stray_processes; "
        "print(stray_processes.find(sys.argv[1]))"
    )
    life = json.loads((state / "life.json").read_text(encoding="utf-8"))["life"]

    done = subprocess.run(
        [ordinary_interpreter(), "-c", finds, life], capture_output=True, text=True, check=True,
        cwd=REPOSITORY, **as_ordinary_user(),
    )  # fmt: skip

    assert f"StrayProcess(pid={broker}, slot='broker')" in done.stdout
