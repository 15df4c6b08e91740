"""Real children talk and print through `child.Child`, in a real event loop, and can't hold it up."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Callable

import pytest

from supervisor.contract.wire import framing
from supervisor.contract.wire import messages as m
from supervisor.processes import child as ch
from supervisor.processes import child_output
from tests.end_to_end.child_stage import Ears, Nursery, Play, is_alive

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
        await nursery.until(lambda: len(nursery.listener.of("heard")) == 301)

        first, *rest = nursery.listener.of("heard")
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

        listener = nursery.listener
        assert listener.of("heard") == [m.Staged(f"job{n}", 1.0, 1.0) for n in range(500)]
        assert listener.of("printed") == ["the end is near", "and it has no newline"]
        assert listener.story[-1] == ("died", 3)
        assert listener.of("broke") == []

    play(story)


def test_empty_line_as_first_word_is_no_message(play: Callable[[Play], None]) -> None:
    """It was taken for the line before it, of which there was none, and an empty message was passed on."""

    async def story(nursery: Nursery) -> None:
        nursery.start("link.sendall(b'\\n')\nrest()")
        (told,) = await nursery.until(lambda: nursery.listener.of("broke"))

        assert "it sent what is no message" in told
        assert nursery.listener.of("heard") == []

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
        (told,) = await nursery.until(lambda: nursery.listener.of("broke"))

        assert why in told
        assert nursery.listener.of("heard") == [m.Up("warm")]  # nothing after the break is believed
        child.send(m.StopJob("a", "no matter"))  # sending to it is harmless
        child.signal(signal.SIGKILL)
        assert await nursery.until_dead() == -9
        assert len(nursery.listener.of("broke")) == 1

    play(story)


def test_child_that_never_reads_is_cut_off_and_holds_nobody_up(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start('say(m.Up("warm")); rest()')
        await nursery.until(lambda: nursery.listener.of("heard"))
        word = m.StopJob("a", "x" * 60_000)
        size_bytes = len(m.write(word))

        count = 0
        while not nursery.listener.of("broke"):
            child.send(word)
            count += 1
            assert count < 1000

        assert nursery.listener.of("broke") == ["it does not read its messages"]
        assert count * size_bytes >= ch.WRITE_BYTES_MOST
        child.send(word)
        assert len(nursery.listener.of("broke")) == 1

    play(story)


@pytest.mark.slow
def test_child_that_closes_its_link_but_lives_on_is_told_of(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start('say(m.Up("warm")); link.close(); rest()')

        await nursery.until(lambda: nursery.listener.of("broke"))

        assert nursery.listener.of("broke") == ["it closed its link but goes on living"]

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
        await nursery.until(lambda: nursery.listener.of("printed"))
        most, heard = 0, len(nursery.listener.of("printed"))
        while heard < 200:
            await asyncio.sleep(0)  # one turn of the loop
            before, heard = heard, len(nursery.listener.of("printed"))
            most = max(most, heard - before)

        # A read's worth each turn: two lines of the shorter kind, one of the longer, and a rest.
        assert most <= 10, "others had to wait for this many lines"
        assert max(len(line) for line in nursery.listener.of("printed")) <= child_output.LINE_BYTES
        child.signal(signal.SIGKILL)
        assert await nursery.until_dead() == -9

    play(story)


def test_bytes_that_are_no_text_are_passed_on_as_far_as_they_go(play: Callable[[Play], None]) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.start('os.write(1, b"caf\\xe9\\n\\n   \\n"); os.write(2, b"bad\\n"); os._exit(0)')
        await nursery.until_dead()

        assert nursery.listener.of("printed") == ["caf\ufffd", "bad"]

    play(story)


def test_bytes_of_a_line_that_never_ends_are_dropped_and_told(
    play: Callable[[Play], None], caplog: pytest.LogCaptureFixture
) -> None:
    """They were dropped in silence, for hours where a child prints them without an end."""
    count = 3_000_000

    async def story(nursery: Nursery) -> None:
        nursery.start(f"sys.stdout.write('x' * {count}); sys.stdout.flush(); os._exit(0)")
        await nursery.until_dead()

        assert [len(line) for line in nursery.listener.of("printed")] == [child_output.LINE_BYTES]
        told = [record for record in caplog.records if "output dropped" in record.message]
        cut_bytes = sum(record.__dict__["cut_bytes"] for record in told)
        assert cut_bytes + child_output.LINE_BYTES == count

    play(story)


@pytest.mark.slow
def test_flood_by_a_stray_grandchild_does_not_hold_the_reaping_up(
    play: Callable[[Play], None], strays: list[int]
) -> None:
    """It did, for ever: the last output was read until there was none, in one go."""

    class SlowEars(Ears):
        def on_output(self, name: str, line: str) -> None:
            time.sleep(0.02)  # the pipe is full again before the next read
            assert len(self.of("printed")) < 500
            super().on_output(name, line)

    async def story(nursery: Nursery) -> None:
        nursery.listener = SlowEars()
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
        await nursery.until(lambda: nursery.listener.of("heard"))
        strays.append(int(nursery.listener.of("heard")[0].job_id))

        assert await nursery.until_dead() == 4
        await nursery.until(lambda: not is_alive(strays[0]))  # its pipe has no reader any more

    play(story)


def test_message_line_limit_is_the_one_that_children_use() -> None:
    assert ch.WRITE_BYTES_MOST > framing.MAX_LINE_BYTES  # one full line is never too much
