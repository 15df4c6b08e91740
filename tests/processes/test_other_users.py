"""What users other than the service's are told, and what `[control] group` lets its members do."""

from __future__ import annotations

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

import pytest

from supervisor.contract.exits import Exit
from tests.processes.rem_service import LIMIT_S, REPOSITORY, SAMPLES, running, wait_for

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


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may pass through, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="rem-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


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
    assert (drained.returncode, "draining all workers" in drained.stdout) == (0, True), drained.stderr
    assert refused.returncode == Exit.FAILED
    assert f"join group {group}" in refused.stderr
