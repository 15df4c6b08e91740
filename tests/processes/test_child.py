"""Real processes through `child.Child`, in a real event loop: heard, told, cut off and reaped.

No kernel without pidfd is at hand, so that way is tried with `os.pidfd_open` made to fail as
it does there; the SIGCHLD and the reaping after it are real.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import sys
import textwrap
import time
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from supervisor import child as ch
from supervisor.child import Child, PlaceTaken, Recipe
from supervisor.contract import framing
from supervisor.contract import messages as m

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0

HEAD = """
import os, socket, sys, time
from supervisor.contract import child_env, framing, messages as m
link = child_env.link()
def say(*words):
    for word in words:
        link.sendall(m.write(word))
def lines():
    splitter = framing.LineSplitter()
    while True:
        data = link.recv(65536)
        if not data:
            return
        yield from splitter.feed(data)
def rest():
    while True:
        time.sleep(60)
def fork_stray():
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()  # out of the group that dies with its leader
        link.close()
        os.write(writes, b"!")
        return 0
    os.read(reads, 1)
    return pid
"""


@dataclass
class Ears:
    """Writes down all that is heard, in order."""

    story: list[tuple[str, Any]] = field(default_factory=list)
    died_with: dict[str, int] = field(default_factory=dict)

    def heard(self, name: str, message: m.Message) -> None:
        self.story.append(("heard", message))

    def printed(self, name: str, line: str) -> None:
        self.story.append(("printed", line))

    def broke(self, name: str, why: str) -> None:
        self.story.append(("broke", why))

    def died(self, name: str, returncode: int) -> None:
        self.story.append(("died", returncode))
        self.died_with[name] = returncode

    def of(self, kind: str) -> list[Any]:
        return [what for how, what in self.story if how == kind]


class Nursery:
    """Starts scripts as children and leaves none behind."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.ears = Ears()
        self._folder = folder
        self._loop = loop
        self._children: list[Child] = []

    def start(
        self, script: str, name: str = "w0", lock: str = "", command: Optional[list[str]] = None
    ) -> Child:
        path = self._folder / f"{name}.py"
        path.write_text(HEAD + textwrap.dedent(script), encoding="utf-8")
        recipe = Recipe(name, command or [sys.executable, str(path)], environment(), m.FROM_WORKER, lock)
        child = Child(recipe, self.ears, self._loop)
        self._children.append(child)
        return child

    async def until(self, fact: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        until_s = time.monotonic() + limit_s
        while True:
            found = fact()
            if found:
                return found
            assert time.monotonic() < until_s, f"not within {limit_s} s; so far: {self.ears.story[-5:]}"
            await asyncio.sleep(0.01)

    async def until_dead(self, name: str = "w0") -> int:
        await self.until(lambda: name in self.ears.died_with)
        return self.ears.died_with[name]

    async def close(self) -> None:
        for child in self._children:
            child.signal(signal.SIGKILL)
        for child in self._children:
            await self.until(lambda child=child: child._process.returncode is not None)


def environment() -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


Play = Callable[[Nursery], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Play], None]:
    def run(play: Play) -> None:
        async def all_of_it() -> None:
            nursery = Nursery(tmp_path, asyncio.get_running_loop())
            try:
                await play(nursery)
            finally:
                await nursery.close()

        asyncio.run(all_of_it())

    return run


@pytest.fixture
def strays() -> Iterator[list[int]]:
    """Pids that a test's children leave behind on purpose: ended here at the latest."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


# --- talking ----------------------------------------------------------------------------


def test_messages_go_both_ways_in_order(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start(
            """
            say(m.Up("warm"))
            for number, line in enumerate(lines()):
                job = m.read(line, m.TO_WORKER)
                say(m.Staged(job.job_id, number, 0.0))
            """
        )
        for n in range(300):
            child.send(m.StopJob(f"job{n}", "x" * 2000))
        await nursery.until(lambda: len(nursery.ears.of("heard")) == 301)

        first, *rest = nursery.ears.of("heard")
        assert first == m.Up("warm")
        assert rest == [m.Staged(f"job{n}", float(n), 0.0) for n in range(300)]
        child.close_link()
        assert await nursery.until_dead() == 0

    play(story)


def test_last_words_are_heard_before_the_death(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start(
            """
            say(*[m.Staged(f"job{n}", 1.0, 1.0) for n in range(500)])
            print("the end is near")
            sys.stdout.write("and it has no newline")
            sys.stdout.flush()
            os._exit(3)
            """
        )
        assert await nursery.until_dead() == 3

        ears = nursery.ears
        assert ears.of("heard") == [m.Staged(f"job{n}", 1.0, 1.0) for n in range(500)]
        assert ears.of("printed") == ["the end is near", "and it has no newline"]
        assert ears.story[-1] == ("died", 3)
        assert ears.of("broke") == []

    play(story)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("link.sendall(b'hello\\n')", "it sent what is no message: not JSON"),
        ("link.sendall(b'[1]\\n')", "it sent what is no message: expected an object"),
        ("say(m.Wanted(3))", "message 'Wanted' is not expected on this link"),
        ("link.sendall(b'\\x00' * 5000 + b'\\n')", "it sent what is no message"),
        ('link.sendall(b\'{"is": "Room", "free": "many"}\\n\')', "Room.free: expected int"),
        ("link.sendall(b'x' * 1_200_000)", "line of over 1048576 bytes"),
    ],
)
def test_child_that_sends_no_message_is_cut_off_and_told_of(
    play: Callable[[Play], None], script: str, why: str
) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start(
            f"""
            say(m.Up("warm"))
            try:
                {script}
                say(m.Room(1))
            except OSError:
                pass
            rest()
            """
        )
        (told,) = await nursery.until(lambda: nursery.ears.of("broke"))

        assert why in told
        assert nursery.ears.of("heard") == [m.Up("warm")]  # nothing after the break is believed
        child.send(m.StopJob("a", "no matter"))  # sending to it is harmless
        child.signal(signal.SIGKILL)
        assert await nursery.until_dead() == -9
        assert len(nursery.ears.of("broke")) == 1

    play(story)


def test_child_that_never_reads_is_cut_off_and_holds_nobody_up(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start('say(m.Up("warm")); rest()')
        await nursery.until(lambda: nursery.ears.of("heard"))
        word = m.StopJob("a", "x" * 60_000)
        size_bytes = len(m.write(word))

        began_s, count = time.monotonic(), 0
        while not nursery.ears.of("broke"):
            child.send(word)
            count += 1
            assert count < 1000
        took_s = time.monotonic() - began_s

        assert nursery.ears.of("broke") == ["it does not read its messages"]
        assert count * size_bytes >= ch.WRITE_BYTES_MOST
        assert took_s < 5.0
        child.send(word)
        assert len(nursery.ears.of("broke")) == 1

    play(story)


@pytest.mark.slow
def test_child_that_closes_its_link_but_lives_on_is_told_of(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start('say(m.Up("warm")); link.close(); rest()')

        await nursery.until(lambda: nursery.ears.of("broke"))

        assert nursery.ears.of("broke") == ["it closed its link but goes on living"]

    play(story)


# --- printing ---------------------------------------------------------------------------


@pytest.mark.slow
def test_flood_of_output_leaves_the_loop_time_for_others(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start(
            """
            say(m.Up("warm"))
            while True:
                os.write(1, b"x" * 500 + b"\\n" + b"y" * 60000)
            """
        )
        await nursery.until(lambda: nursery.ears.of("printed"))
        ticks, worst_s, until_s = 0, 0.0, time.monotonic() + 1.0
        while time.monotonic() < until_s:
            before_s = time.monotonic()
            await asyncio.sleep(0.005)
            worst_s = max(worst_s, time.monotonic() - before_s)
            ticks += 1

        assert ticks >= 30
        assert worst_s < 0.5
        assert len(nursery.ears.of("printed")) > 100
        assert max(len(line) for line in nursery.ears.of("printed")) <= ch.OUTPUT_LINE_BYTES
        child.signal(signal.SIGKILL)
        assert await nursery.until_dead() == -9

    play(story)


def test_bytes_that_are_no_text_are_passed_on_as_far_as_they_go(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start('os.write(1, b"caf\\xe9\\n\\n   \\n"); os.write(2, b"bad\\n"); os._exit(0)')
        await nursery.until_dead()

        assert nursery.ears.of("printed") == ["caf\ufffd", "bad"]

    play(story)


@pytest.mark.slow
def test_flood_by_a_stray_grandchild_does_not_hold_the_reaping_up(
    play: Callable[[Play], None], strays: list[int]
) -> None:
    """It did, for ever: the last output was read until there was none, in one go."""

    class SlowEars(Ears):
        def printed(self, name: str, line: str) -> None:
            time.sleep(0.02)  # the pipe is full again before the next read
            assert len(self.of("printed")) < 500
            super().printed(name, line)

    async def story(nursery: Nursery) -> None:
        nursery.ears = SlowEars()
        nursery.start(
            """
            pid = fork_stray()
            if pid == 0:
                try:
                    while True:
                        os.write(1, b"x" * 60000 + b"\\n")
                except OSError:
                    os._exit(0)
            say(m.Staged(str(pid), 1.0, 1.0))
            os._exit(4)
            """
        )
        await nursery.until(lambda: nursery.ears.of("heard"))
        strays.append(int(nursery.ears.of("heard")[0].job_id))

        assert await nursery.until_dead() == 4
        await nursery.until(lambda: not is_alive(strays[0]))  # its pipe has no reader any more

    play(story)


# --- ending -----------------------------------------------------------------------------


def test_death_is_told_even_if_the_last_words_were_too_much_for_who_heard_them(
    play: Callable[[Play], None],
) -> None:
    """An error while hearing them used to swallow the death: the slot waited for ever."""

    class WeakEars(Ears):
        def printed(self, name: str, line: str) -> None:
            raise RecursionError

    async def story(nursery: Nursery) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        nursery.ears = WeakEars()
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
        await nursery.until(lambda: nursery.ears.of("heard"))
        strays.append(int(nursery.ears.of("heard")[0].job_id))
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
        strays.append(int(nursery.ears.of("heard")[0].job_id))

        before = open_descriptors()
        with pytest.raises(PlaceTaken, match=rf"\b{first.pid}\b"):
            nursery.start("", "second", lock, ["/bin/true"])
        assert open_descriptors() == before

        os.kill(strays[0], signal.SIGKILL)
        await nursery.until(lambda: not is_alive(strays[0]))
        nursery.start("", "third", lock, ["/bin/true"])
        assert await nursery.until_dead("third") == 0

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


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


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

    play(story)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, dead or alive


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
                await nursery.until(lambda: nursery.ears.of("heard"))
                children[-1].signal(signum)
            else:
                children.append(nursery.start('say(m.Up("warm")); os._exit(7)'))

            assert await nursery.until_dead() == (-signum or 7)
            assert nursery.ears.of("heard") == [m.Up("warm")]
            assert list(nursery.ears.died_with) == ["w0"]
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


def test_message_line_limit_is_the_one_that_children_use() -> None:
    assert ch.WRITE_BYTES_MOST > framing.MAX_LINE_BYTES  # one full line is never too much
