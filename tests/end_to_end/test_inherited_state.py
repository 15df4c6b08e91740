"""Whatever the parent ignored, blocked, closed, limited or removed: the service works and ends as ever."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from tests.end_to_end.running_service import (
    LIMIT_S,
    REPOSITORY,
    SAMPLES,
    Service,
    clean_environment,
    is_alive,
    running,
    wait_for,
)

pytestmark = pytest.mark.slow
CASES = REPOSITORY.parent / "shared" / "cases"
BECOMES_THE_SERVICE = 'os.execv(sys.executable, [sys.executable, "-m", "supervisor", "run"])'
LEFT_BY_THE_PARENT = {
    "SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "every signal ignored": "for n in every: signal.signal(n, signal.SIG_IGN)",
    "every signal blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, every)",
    "an alarm set": "signal.alarm(4)",
    "stdin, stdout and stderr closed": "os.closerange(0, 3)",
    "stderr closed": "os.close(2)",
    "a umask that forbids everything": "os.umask(0o777)",
    "twenty descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))",
    "working folder removed": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
}
PRELUDE = """
import os, resource, signal, sys
every = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
"""


def replaces_a_dead_child_and_ends_with_0(service: Service) -> None:
    service.wait_ready()
    first = service.pid_of("gpuwatch")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: service.pid_of("gpuwatch") not in (0, first), "a replacement")
    known = service.pids()

    assert service.stop() == 0

    wait_for(lambda: not [pid for pid in known if is_alive(pid)], "the end of all its processes")


@pytest.mark.parametrize("left", LEFT_BY_THE_PARENT)
def test_service_replaces_its_children_and_ends_on_sigterm_whatever_it_inherited(
    tmp_path: Path, left: str
) -> None:
    """With SIGCHLD ignored no child's end was seen and the loop spun; with signals blocked it was deaf."""
    program = ("-c", f"{PRELUDE}{LEFT_BY_THE_PARENT[left]}\n{BECOMES_THE_SERVICE}")

    with running(tmp_path / "state", program, slots=1) as service:
        replaces_a_dead_child_and_ends_with_0(service)


@pytest.mark.parametrize("name", ["start_sigchld_ignored.py", "start_sigterm_blocked.py"])
def test_service_that_a_careless_program_starts_works_as_ever(tmp_path: Path, name: str) -> None:
    if not (CASES / name).exists():
        pytest.skip(f"{CASES / name} is absent")

    program = (str(CASES / name), sys.executable, "-m", "supervisor", "run")
    with running(tmp_path / "state", program, slots=1) as service:
        replaces_a_dead_child_and_ends_with_0(service)


# --- a log that nobody reads ------------------------------------------------------------------


def test_service_whose_log_nobody_reads_ends_with_0(tmp_path: Path) -> None:
    """A stopped `tee` held the end back until a second SIGTERM: the flush waited for the writing thread."""
    reading, writing = full_pipe()
    try:
        code = ended_after_sigterm(tmp_path, writing)
    finally:
        os.close(reading)
        os.close(writing)

    assert code == 0


def test_service_whose_log_reader_left_ends_with_0(tmp_path: Path) -> None:
    """`run | head -1` ended with 141, or with 120 when the interpreter flushed."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code = ended_after_sigterm(tmp_path, writing)
    finally:
        os.close(writing)

    assert code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_command_that_waits_for_its_reader_ends_on_ctrl_c(tmp_path: Path) -> None:
    """The interpreter's flush waited for the reader again, until a second Ctrl-C."""
    reading, writing = full_pipe()
    command = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "config"],
        env=clean_environment(tmp_path / "state"), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=writing,
    )  # fmt: skip
    try:
        seen: deque[tuple[str, ...]] = deque(maxlen=25)
        wait_for(lambda: stands_still(command.pid, seen), "a command that waits for its reader")
        command.send_signal(signal.SIGINT)
        code = command.wait(LIMIT_S)
    finally:
        command.kill()
        command.wait()
        os.close(reading)
        os.close(writing)

    assert code == 130


def full_pipe() -> tuple[int, int]:
    """Give both ends of a pipe into which nothing more goes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


def stands_still(pid: int, seen: deque[tuple[str, ...]]) -> bool:
    """Say whether a process has slept, and used no time of a CPU, as often as `seen` holds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    seen.append((fields[0], fields[11], fields[12]))
    return len(seen) == seen.maxlen and set(seen) == {("S", *seen[0][1:])}


def ended_after_sigterm(tmp_path: Path, log_fd: int) -> int:
    """Start the service with this log, end it when it answers, and give its exit code."""
    service = Service(tmp_path / "state", clean_environment(tmp_path / "state"), ("-c", "pass"))
    service.process.wait(LIMIT_S)
    service.process = subprocess.Popen(
        [sys.executable, "-m", "supervisor", "run"],
        env=service.environ, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log_fd, stderr=log_fd,
    )  # fmt: skip
    try:
        wait_for(service.status, "an answer")
        return service.stop()
    finally:
        service.process.kill()
        service.process.wait(LIMIT_S)


# --- a working folder full of strangers -------------------------------------------------------

# As the installed script does it; `python -m supervisor` would look into the working folder first.
SCRIPT = "import sys; del sys.path[0]; from supervisor.cli.main import main; sys.exit(main())"
TRAP = "import os; os.write(2, b'a stranger was imported: ' + __file__.encode()); os._exit(99)\n"


def test_no_module_of_the_working_folder_is_imported_by_any_process(tmp_path: Path) -> None:
    """`python -m` before 3.11 puts the working folder first, an empty entry in PYTHONPATH does so in all."""
    for name in ("queue", "json", "asyncio", "boto3", "uuid", "numpy", "supervisor", "workerproc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(TRAP, encoding="utf-8")
    shutil.copy(SAMPLES / "harbour.wav", tmp_path / "recording.wav")

    path = f"{REPOSITORY}{os.pathsep}"  # it ends with an empty entry
    with running(tmp_path / "state", ("-c", SCRIPT, "run"), slots=1, PYTHONPATH=path) as service:
        service.wait_ready()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, "submit", "recording.wav", "--wait", "--format", "txt"],
            env=service.environ, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        shown = subprocess.run(
            [sys.executable, "-c", SCRIPT, "status"], env=service.environ, cwd=tmp_path, check=False,
            capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip

    assert (done.returncode, shown.returncode) == (0, 0), (done.stderr, shown.stderr)
    assert "harbo" in done.stdout
    assert "a stranger" not in service.log + done.stderr + shown.stderr
