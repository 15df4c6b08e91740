"""Programs are started with exactly the descriptors they are given, and their ends are seen in any case."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from typing import Callable

import pytest

from supervisor.processes.spawning import spawn
from tests.end_to_end.child_stage import REPOSITORY, Nursery, Play

LISTS_DESCRIPTORS = (
    "import os; print(sorted(int(n) for n in os.listdir('/dev/fd') if os.path.exists(f'/dev/fd/{n}')))"
)
STARTS_IT = f"""
import os, sys
from supervisor.contract import process_start
from supervisor.processes.spawning import spawn
process_start.begin()
process_start.keep_descriptors()
given, kept = os.pipe()
out, theirs = os.pipe()
pid = spawn([sys.executable, "-c", {LISTS_DESCRIPTORS!r}], {{}}, theirs, [given])
os.close(theirs)
print(eval(os.read(out, 4096)) == [0, 1, 2, given])
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("closed", [(), (0,), (0, 2)])
def test_child_gets_the_descriptors_it_is_given_and_none_that_we_inherited(closed: tuple[int, ...]) -> None:
    leaked, other = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import os\nfor fd in {closed}: os.close(fd)\n{STARTS_IT}"],
            stdout=subprocess.PIPE, pass_fds=[leaked], cwd=REPOSITORY, timeout=30, check=True,
        )  # fmt: skip
    finally:
        os.close(leaked)
        os.close(other)

    assert done.stdout == b"True\n"


def test_child_dies_of_a_broken_pipe_and_leads_a_session(capfd: pytest.CaptureFixture[str]) -> None:
    out, theirs = os.pipe()
    pid = spawn(
        ["/bin/sh", "-c", "ps -o sid= -p $$; kill -PIPE $$; echo survived"], dict(os.environ), theirs, []
    )
    os.close(theirs)

    _, status = os.waitpid(pid, 0)

    said = os.read(out, 4096)
    os.close(out)
    assert (os.waitstatus_to_exitcode(status), said.split()) == (-signal.SIGPIPE, [b"%d" % pid])


def test_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], {}, 1, [])


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this Python or kernel has no pidfds")
def test_death_is_heard_of_though_no_descriptor_was_left_to_see_it(
    play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child without a pidfd was lost: its slot stayed ready for ever."""
    open_pidfd, refused = os.pidfd_open, []

    def refuse_twice(pid: int, flags: int = 0) -> int:
        if len(refused) < 2:
            refused.append(pid)
            raise OSError(errno.EMFILE, "Too many open files")
        return open_pidfd(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", refuse_twice)

    async def story(nursery: Nursery) -> None:
        nursery.start("os._exit(3)", "early")
        assert await nursery.until_dead("early") == 3
        late = nursery.start("", "late", command=["/bin/sleep", "60"])
        late.signal(signal.SIGKILL)
        assert await nursery.until_dead("late") == -signal.SIGKILL

    play(story)


SHOWS_SIGNALS = (
    "print(*(l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))), sep='', end='')"
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_child_blocks_and_ignores_nothing_that_we_block_or_ignore() -> None:
    """SIGUSR2, blocked by the supervisor's parent, stayed blocked in workers: a stall left no stacks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    out, theirs = os.pipe()
    try:
        pid = spawn([sys.executable, "-c", SHOWS_SIGNALS], dict(os.environ), theirs, [])
        os.close(theirs)
        with os.fdopen(out) as shown:
            blocked, ignores = (int(line.split()[1], 16) for line in shown.read().splitlines())
    finally:
        signal.signal(signal.SIGCHLD, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with contextlib.suppress(ChildProcessError):  # reaped already where it ended while SIGCHLD was ignored
        os.waitpid(pid, 0)

    ignored_signals = {number for number in signal.valid_signals() if ignores >> (number - 1) & 1}
    assert (blocked, ignored_signals) == (0, {signal.SIGPIPE, signal.SIGXFSZ})  # as each Python does
