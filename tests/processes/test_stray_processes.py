"""Who is left of a process group whose leader is gone; and where pip puts CUDA's libraries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from supervisor.processes.child_specs import library_folders
from supervisor.processes.stray_processes import alive_in_group

LEAVES_A_CHILD = "import subprocess; print(subprocess.Popen(['sleep', '100']).pid, flush=True)"


def test_what_a_dead_worker_started_is_found_until_it_is_gone() -> None:
    leader = subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_CHILD], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    leader.stdout.close()
    leader.wait()

    assert alive_in_group(leader.pid) == [child]

    os.killpg(leader.pid, signal.SIGKILL)
    until_s = time.monotonic() + 10
    while alive_in_group(leader.pid):
        assert time.monotonic() < until_s


def test_no_group_has_no_survivors() -> None:
    assert alive_in_group(0) == []
    assert alive_in_group(2**22 + 1) == []


def test_folders_of_cuda_wheels_are_found_in_order(tmp_path: Path) -> None:
    for name, file in (("cublas", "libcublas.so.12"), ("cudnn", "libcudnn.so.9"), ("empty", "")):
        folder = tmp_path / "site" / "nvidia" / name / "lib"
        folder.mkdir(parents=True)
        if file:
            (folder / file).touch()

    found = library_folders(["", str(tmp_path / "absent"), str(tmp_path / "site"), str(tmp_path / "site")])

    assert [Path(folder).parent.name for folder in found] == ["cublas", "cudnn"]
