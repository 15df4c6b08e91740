"""How a worker's life ends: asked, orphaned, or for a reason that its exit code names."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract import child_bootstrap
from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import Drain, Job, Staged
from tests.workerproc import recordings
from tests.workerproc.process import (
    LIMIT_S,
    REPOSITORY,
    Worker,
    card,
    environment,
    settings_in,
    worker_in,
)

pytestmark = pytest.mark.slow

LONG = next(clip.path for clip in recordings.samples() if clip.path.stem == "lighthouse")
FAR_AWAY_S = 1e9


def in_mid_job(worker: Worker, folder: Path) -> None:
    """Bring a worker to the middle of a recording."""
    worker.ready()
    worker.send(Job(card(folder, recordings.two_windows(folder.parent))))
    worker.next_beat(lambda beat: any(job.phase == "transcribing" for job in beat.jobs))


# --- asked


def test_drained_worker_finishes_its_job_and_takes_no_other(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        in_mid_job(worker, tmp_path / "job")

        worker.send(Drain(FAR_AWAY_S))
        worker.send(Job(card(tmp_path / "late", LONG, job_id="late")))

        assert worker.next(Staged).job_id == "job-1"
        assert worker.ends() == Exit.OK
        sentences = [line["message"] for line in worker.log_lines()]
        # Heard while the recording was still being worked on.
        assert sentences.index("worker exiting") < sentences.index("transcription finished")
        assert [path.name for path in (tmp_path / "late").iterdir()] == ["audio"]


def test_second_sigterm_changes_nothing(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        in_mid_job(worker, tmp_path / "job")

        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)
        worker.send(Drain(FAR_AWAY_S))

        assert worker.next(Staged).job_id == "job-1"
        assert worker.ends() == Exit.OK
        assert [line["message"] for line in worker.log_lines()].count("worker exiting") == 1


def test_idle_worker_leaves_at_once_and_the_terminals_sigint_is_not_its_affair(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        worker.ready()

        worker.process.send_signal(signal.SIGINT)
        worker.next_beat(lambda beat: True)
        worker.next_beat(lambda beat: True)
        worker.process.send_signal(signal.SIGTERM)

        assert worker.ends() == Exit.OK


def test_worker_that_still_loads_leaves_at_once(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        worker.send(Drain(FAR_AWAY_S))

        assert worker.ends() == Exit.OK
        assert not [message for message in worker.heard if type(message).__name__ in ("Up", "Room")]


# --- orphaned


def test_end_of_the_link_ends_the_worker_in_mid_job(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        in_mid_job(worker, tmp_path / "job")

        worker.sock.shutdown(socket.SHUT_RDWR)

        assert worker.ends() == Exit.ORPHANED
        assert [path.name for path in (tmp_path / "job").iterdir()] == ["audio"]


PARENT = """
import subprocess, sys
command = [sys.executable, "-m", "workerproc"]
child = subprocess.Popen(command, pass_fds=[int(sys.argv[1])], stdout=subprocess.DEVNULL)
sys.stdin.read()
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a parent-death signal; elsewhere the link ends"
)
def test_worker_dies_with_its_parent_though_the_link_stays_open(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    # The parent's pid is its own affair: sh's $$ is the pid that exec hands on to Python.
    values = environment(settings_in(tmp_path), theirs.fileno(), parent_pid=0)
    parent = subprocess.Popen(
        [
            "sh",
            "-c",
            f'{child_bootstrap.PARENT_PID}=$$ exec "$@"',
            "sh",
            sys.executable,
            "-c",
            PARENT,
            str(theirs.fileno()),
        ],
        env=values,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.PIPE,
    )
    # The test keeps `theirs` open: the worker can't learn of the death by the link.
    worker = Worker(parent, ours, log_path=tmp_path / "none")
    try:
        ours.settimeout(LIMIT_S)
        first = ours.recv(65_536)
        pid = int(subprocess.check_output(["pgrep", "-P", str(parent.pid)], text=True))
        parent.kill()
        parent.wait()
        gone = is_gone_soon(pid)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdin is not None
        parent.stdin.close()
        ours.close()
        theirs.close()

    assert b'"Beat"' in first
    assert gone
    assert worker.heard == []


def is_gone_soon(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], LIMIT_S)[0])
    finally:
        os.close(descriptor)


def test_worker_whose_parent_is_another_leaves_before_it_does_anything(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = subprocess.run(
            [sys.executable, "-m", "workerproc"],
            env=environment(settings_in(tmp_path), theirs.fileno(), parent_pid=1),
            pass_fds=[theirs.fileno()],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )

    assert (ended.returncode, ended.stdout) == (Exit.ORPHANED, b"")
    assert not (tmp_path / "stacks.txt").exists()


# --- for a reason


@pytest.mark.parametrize(
    "line",
    [b"not json\n", b'{"is":"Commit","job_id":"x"}\n', b'{"is":"Drain"}\n', b"[1]\n", b"x" * 1_100_000],
)
def test_message_that_makes_no_sense_ends_the_worker_with_a_reason(tmp_path: Path, line: bytes) -> None:
    with worker_in(tmp_path) as worker:
        try:
            worker.sock.sendall(line)
        except OSError:
            assert len(line) > 1_048_576  # it may be gone before it has read all of that

        assert worker.ends() == Exit.PROTOCOL
        assert worker.log_lines()[-1]["message"] == "invalid message"


def empty_folder(folder: Path) -> dict[str, Any]:
    (folder / "model").mkdir()
    return {"model_path": str(folder / "model")}


def damaged_weights(folder: Path) -> dict[str, Any]:
    (folder / "model").mkdir()
    for path in Path(settings_in(folder).model_path).iterdir():
        (folder / "model" / path.name).symlink_to(path)
    (folder / "model" / "model.bin").unlink()
    (folder / "model" / "model.bin").write_bytes(b"these are no weights" * 100)
    return {"model_path": str(folder / "model")}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (empty_folder, Exit.MODEL_BROKEN, "model.bin"),
        (damaged_weights, Exit.MODEL_BROKEN, "model"),
        (lambda folder: {"model_path": str(folder / "none")}, Exit.MODEL_BROKEN, "none"),
        (lambda folder: {"compute_type": "float16"}, Exit.MODEL_BROKEN, "float16"),
        (lambda folder: {"compute_type": "int3"}, Exit.MODEL_BROKEN, "int3"),
    ],
)
def test_model_that_can_not_be_used_is_one_clear_line_and_an_exit_code(
    tmp_path: Path, change: Any, code: Exit, words: str
) -> None:
    with worker_in(tmp_path, **change(tmp_path)) as worker:
        assert worker.ends() == code

        lines = worker.log_lines()
        assert [line["message"] for line in lines] == ["model cannot be used"]
        assert words in lines[0]["reason"]
        assert "\n" not in lines[0]["reason"]
        assert worker.log().count("\n") == 1


@pytest.mark.skipif(os.path.exists("/proc/driver/nvidia"), reason="NVIDIA's driver is loaded here")
def test_gpu_that_is_not_there_is_the_devices_fault(tmp_path: Path) -> None:
    with worker_in(tmp_path, device="cuda", compute_type="float16") as worker:
        assert worker.ends() == Exit.DEVICE_BROKEN

        assert [line["message"] for line in worker.log_lines()] == ["device cannot be used"]


def test_sigusr2_writes_all_stacks_and_costs_nothing(tmp_path: Path) -> None:
    with worker_in(tmp_path) as worker:
        in_mid_job(worker, tmp_path / "job")

        worker.process.send_signal(signal.SIGUSR2)

        assert worker.next(Staged).job_id == "job-1"
        stacks = (tmp_path / "stacks.txt").read_text()
        assert "transcribe_job" in stacks
        assert stacks.count("Thread 0x") >= 3  # link, beat and SIGTERM beside the main thread


# --- never begun


def test_worker_that_nobody_started_says_how_it_is_used(tmp_path: Path) -> None:
    ended = run({"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)})

    assert ended.returncode == Exit.USAGE
    assert b"only rem-supervisor can start" in ended.stderr


def test_worker_with_senseless_settings_says_which(tmp_path: Path) -> None:
    values = environment(settings_in(tmp_path), 0)
    plain = json.loads(values[child_bootstrap.SETTINGS])
    values[child_bootstrap.SETTINGS] = json.dumps({**plain, "threads": "many"})

    ended = run(values)

    assert ended.returncode == Exit.SETTINGS_WRONG
    assert b"threads" in ended.stderr


def run(values: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "workerproc", *arguments],
        env=values,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
