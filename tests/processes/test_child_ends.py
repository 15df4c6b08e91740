"""Real children end, and `child.Child` tells how: reaped, their places free, nothing left.

No kernel without pidfd is at hand, so that way is tried with `os.pidfd_open` made to fail as
it does there; the SIGCHLD and the reaping after it are real.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract.exits import STATUS_UNKNOWN
from supervisor.contract.wire import messages as m
from supervisor.processes import child as ch
from supervisor.processes.child import Child
from supervisor.processes.spawning import PlaceTaken
from tests.end_to_end.child_stage import Ears, Nursery, Play, is_alive, open_descriptors

# --- ending -----------------------------------------------------------------------------


def test_death_is_told_even_if_the_last_words_were_too_much_for_who_heard_them(
    play: Callable[[Play], None],
) -> None:
    """An error while hearing them used to swallow the death: the slot waited for ever."""

    class WeakEars(Ears):
        def on_output(self, name: str, line: str) -> None:
            raise RecursionError

    async def story(nursery: Nursery) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        nursery.listener = WeakEars()
        before = open_descriptors()
        nursery.start("", command=["/bin/sh", "-c", "printf [[[[; exit 5"])

        assert await nursery.until_dead() == 5
        assert open_descriptors() == before

    play(story)


@pytest.mark.parametrize("code", [0, 1, 71, 255])
def test_exit_codes_are_told_as_they_are(play: Callable[[Play], None], code: int) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start("", command=["/bin/sh", "-c", f"exit {code}"])

        assert await nursery.until_dead() == code

    play(story)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_child_whose_exit_status_somebody_else_took_has_ended_all_the_same(
    play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    """Where SIGCHLD was ignored the kernel reaps: the supervisor asked in vain, again and again, for ever."""
    if not has_pidfd:
        monkeypatch.setattr(ch, "open_pidfd", _no_pidfd)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    async def story(nursery: Nursery) -> None:
        nursery.start("print('bye'); os._exit(3)")

        assert await nursery.until_dead() == STATUS_UNKNOWN
        assert nursery.listener.story == [("printed", "bye"), ("died", STATUS_UNKNOWN)]

    try:
        play(story)
    finally:
        signal.signal(signal.SIGCHLD, before)


def _no_pidfd(pid: int) -> int:
    raise OSError(errno.ENOSYS, "no pidfd")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_signals_are_told_as_negative_numbers(play: Callable[[Play], None], signum: signal.Signals) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start("", command=["/bin/sleep", "60"])
        child.signal(signum)

        assert await nursery.until_dead() == -signum
        child.signal(signum)  # a pid that may be somebody else's by now: nothing is sent

    play(story)


def test_command_that_does_not_exist_is_an_error_and_leaves_nothing(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        before = open_descriptors()

        with pytest.raises(OSError, match="no-such-command"):
            nursery.start("", command=["/no-such-command"])

        assert open_descriptors() == before

    play(story)


@pytest.mark.parametrize("how", ["killed", "exited"])
def test_process_group_ends_with_its_child(play: Callable[[Play], None], strays: list[int], how: str) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start(
            f"""
            pid = os.fork()
            if pid == 0:
                link.close()
                rest()
            say(m.Staged(str(pid), 1.0, 1.0))
            {"rest()" if how == "killed" else "os._exit(0)"}
            """
        )
        await nursery.until(lambda: nursery.listener.of("heard"))
        strays.append(int(nursery.listener.of("heard")[0].job_id))
        if how == "killed":
            child.signal(signal.SIGKILL)
        await nursery.until_dead()

        await nursery.until(lambda: not is_alive(strays[0]))

    play(story)


# --- the place --------------------------------------------------------------------------


def test_place_is_taken_until_the_last_process_of_the_life_before_is_gone(
    play: Callable[[Play], None], strays: list[int], tmp_path: Path
) -> None:
    lock = str(tmp_path / "gpu0.lock")

    async def story(nursery: Nursery) -> None:
        first = nursery.start(
            """
            pid = fork_stray()
            if pid == 0:
                os.close(1); os.close(2)
                rest()
            say(m.Staged(str(pid), 1.0, 1.0))
            os._exit(0)
            """,
            "first",
            lock,
        )
        await nursery.until_dead("first")
        strays.append(int(nursery.listener.of("heard")[0].job_id))

        before = open_descriptors()
        with pytest.raises(PlaceTaken, match=rf"\b{first.pid}\b"):
            nursery.start("", "second", lock, ["/bin/true"])
        assert open_descriptors() == before

        os.kill(strays[0], signal.SIGKILL)
        await nursery.until(lambda: not is_alive(strays[0]))
        nursery.start("", "third", lock, ["/bin/true"])
        assert await nursery.until_dead("third") == 0

    play(story)


def test_full_disk_keeps_no_child_from_its_place(
    play: Callable[[Play], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started, then given up for the pid that could not be written, and never reaped."""

    def refuse(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)

    async def story(nursery: Nursery) -> None:
        nursery.start('say(m.Up("warm")); os._exit(3)', "first", str(tmp_path / "gpu0.lock"))
        assert await nursery.until_dead("first") == 3

    play(story)


def test_place_is_taken_while_the_child_lives_and_free_when_it_died(
    play: Callable[[Play], None], tmp_path: Path
) -> None:
    lock = str(tmp_path / "gpu0.lock")

    async def story(nursery: Nursery) -> None:
        first = nursery.start("", "first", lock, ["/bin/sleep", "60"])
        with pytest.raises(PlaceTaken, match=rf"\b{first.pid}\b.*gpu0\.lock"):
            nursery.start("", "second", lock, ["/bin/true"])

        first.signal(signal.SIGKILL)
        await nursery.until_dead("first")

    play(story)
    with open(lock, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lock_that_is_a_link_to_elsewhere_is_not_followed(
    play: Callable[[Play], None], tmp_path: Path
) -> None:
    """GPU locks lie in a folder that everybody may write."""
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="ascii")
    (tmp_path / "gpu0.lock").symlink_to(victim)

    async def story(nursery: Nursery) -> None:
        with pytest.raises(OSError) as caught:
            nursery.start("", "first", str(tmp_path / "gpu0.lock"), ["/bin/true"])
        assert caught.value.errno == errno.ELOOP

    play(story)
    assert victim.read_text(encoding="ascii") == "precious"


# --- leaks, and kernels without pidfd ---------------------------------------------------


def children_of_ours() -> set[str]:
    """The pids of this process's children, dead ones not yet reaped included."""
    return set(Path("/proc/self/task").joinpath(str(os.getpid()), "children").read_text().split())


@pytest.mark.slow
def test_two_hundred_lives_leave_no_descriptor_and_no_zombie(
    play: Callable[[Play], None], tmp_path: Path
) -> None:
    async def story(nursery: Nursery) -> None:
        before = open_descriptors()
        for n in range(50):
            names = [f"{n}-{k}" for k in range(4)]
            for name in names:
                nursery.start("", name, str(tmp_path / f"{name}.lock"), ["/bin/true"])
            for name in names:
                assert await nursery.until_dead(name) == 0

        assert open_descriptors() == before

    others = children_of_ours()  # servers that other tests share
    play(story)
    assert children_of_ours() == others  # no child is left, dead or alive


@pytest.mark.parametrize("signum", [0, signal.SIGKILL])
def test_without_pidfds_a_death_is_heard_of_through_sigchld(
    play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)

    async def story(nursery: Nursery) -> None:
        loop = asyncio.get_running_loop()
        children: list[Child] = []
        ch.watch_without_pidfd(loop, lambda: [child.reap() for child in children] and None)
        try:
            children.append(nursery.start("", "neighbour", command=["/bin/sleep", "60"]))
            if signum:
                children.append(nursery.start('say(m.Up("warm")); rest()'))
                await nursery.until(lambda: nursery.listener.of("heard"))
                children[-1].signal(signum)
            else:
                children.append(nursery.start('say(m.Up("warm")); os._exit(7)'))

            assert await nursery.until_dead() == (-signum or 7)
            assert nursery.listener.of("heard") == [m.Up("warm")]
            assert list(nursery.listener.died_with) == ["w0"]
            children[0].signal(signal.SIGKILL)
            await nursery.until_dead("neighbour")
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)

    play(story)


def test_where_there_are_pidfds_nobody_waits_for_sigchld(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        ch.watch_without_pidfd(asyncio.get_running_loop(), lambda: None)

        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL

    if not hasattr(os, "pidfd_open"):
        pytest.skip("this Python has no pidfds")
    play(story)
