"""A worker needs no network and sends nothing: where there is none it works, and writes nothing at home."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from supervisor.processes.child_specs import WORKER_HOME
from tests.end_to_end.running_service import SAMPLES, running

pytestmark = pytest.mark.slow
WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
    not can_unshare(), reason="a network namespace needs user namespaces or root, and unshare"
)
def test_recording_is_transcribed_without_any_network_and_nothing_is_written_at_home(tmp_path: Path) -> None:
    """onnxruntime's wheel counts its users: an id and a database in ~/.cache, uploads from each worker."""
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "-c",
        f"import os, sys; words = [*{WITHOUT_NETWORK}, sys.executable, '-m', 'supervisor', 'run']; "
        "os.execvp(words[0], words)",
    )

    with running(tmp_path / "state", program, slots=1, HOME=str(home)) as service:
        service.wait_ready()
        done = service.command("submit", str(SAMPLES / "harbour.wav"), "--wait", "--format", "txt")

    assert done.returncode == 0, done.stderr
    assert "first boat" in done.stdout
    assert list(home.rglob("*")) == []
    assert list((tmp_path / "state" / WORKER_HOME).rglob("*")) == []
