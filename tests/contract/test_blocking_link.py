"""A child's link: whole messages from any cut, from all threads, and a sure end."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.blocking_link import BlockingLink, LinkClosed
from supervisor.contract.wire.messages import FROM_BROKER, Done, Drain, Up

LIMIT_S = 20.0


class Ends:
    """A link, and the socket at its other end."""

    def __init__(self, accepted: tuple[type, ...]) -> None:
        self.peer, side = socket.socketpair()
        self.peer.settimeout(LIMIT_S)
        self._side = side
        self.link: BlockingLink[Any] = BlockingLink(side, accepted)

    def close(self) -> None:
        self.peer.close()
        self._side.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends(FROM_BROKER)
    yield ends
    ends.close()


def large(detail: str) -> Up:
    """A message of over 900 kB."""
    return Up(detail, {str(n): "x" * 60_000 for n in range(15)})


def listened(link: BlockingLink[Any]) -> queue.Queue[Any]:
    """Collect what `listen` reports: messages, and its end."""
    heard: queue.Queue[Any] = queue.Queue()
    link.listen(heard.put, heard.put)
    return heard


def test_message_is_yielded_once_it_is_complete(ends: Ends) -> None:
    line = messages.write(Up("ready"))

    ends.peer.sendall(line[:5])
    before = list(ends.link.receive(LIMIT_S))
    ends.peer.sendall(line[5:] + line[:3])
    after = list(ends.link.receive(LIMIT_S))

    assert (before, after) == ([], [Up("ready")])


def test_nothing_is_yielded_when_the_time_is_over(ends: Ends) -> None:
    assert list(ends.link.receive(0.0)) == []


def test_message_larger_than_the_sockets_buffer_is_sent_whole(ends: Ends) -> None:
    message = large("ready")
    heard = listened(BlockingLink(ends.peer, FROM_BROKER))

    ends.link.send(message)

    assert heard.get(timeout=LIMIT_S) == message


def test_message_that_is_too_large_is_refused_and_the_link_stays_usable(ends: Ends) -> None:
    with pytest.raises(framing.BadLine, match="the limit is"):
        ends.link.send(Up("x" * framing.MAX_LINE_BYTES))
    ends.link.send(Up("small"))

    assert ends.peer.recv(65_536) == messages.write(Up("small"))


def test_endless_line_ends_the_link(ends: Ends) -> None:
    heard = listened(ends.link)

    ends.peer.sendall(b"x" * (framing.MAX_LINE_BYTES + 1))

    error = heard.get(timeout=LIMIT_S)
    assert isinstance(error, framing.BadLine)
    assert "line of over" in str(error)


def test_messages_before_an_invalid_one_are_delivered(ends: Ends) -> None:
    heard = listened(ends.link)

    ends.peer.sendall(messages.write(Up("ready")) + messages.write(Drain(1.0)) + messages.write(Up("again")))

    assert heard.get(timeout=LIMIT_S) == Up("ready")
    error = heard.get(timeout=LIMIT_S)
    assert isinstance(error, framing.BadLine)
    assert "'Drain' is not expected on this link" in str(error)
    assert heard.empty()


def test_closed_peer_ends_the_link_after_its_last_message(ends: Ends) -> None:
    ends.peer.sendall(messages.write(Done("job-1", "done")) + b'{"is": "Up"')
    ends.peer.close()

    heard = listened(ends.link)

    assert heard.get(timeout=LIMIT_S) == Done("job-1", "done")
    assert isinstance(heard.get(timeout=LIMIT_S), LinkClosed)


def test_peer_that_dies_with_unread_messages_ends_the_link(ends: Ends) -> None:
    """The kernel reports a reset connection then, not the end of the file."""
    ends.link.send(Up("never read"))
    ends.peer.close()

    with pytest.raises(LinkClosed):
        list(ends.link.receive())
    with pytest.raises(LinkClosed):
        ends.link.send(Up("never sent"))


def test_shut_down_wakes_a_thread_that_waits_for_a_message(ends: Ends) -> None:
    heard = listened(ends.link)

    ends.link.shut_down()
    ends.link.shut_down()

    assert isinstance(heard.get(timeout=LIMIT_S), LinkClosed)


def test_messages_of_several_threads_are_sent_one_after_the_other(ends: Ends) -> None:
    """Each is larger than the socket's buffer, so the kernel takes it in several steps."""
    heard = listened(BlockingLink(ends.peer, FROM_BROKER))

    def send_all(name: str) -> None:
        for n in range(5):
            ends.link.send(large(f"{name}{n}"))

    threads = [threading.Thread(target=send_all, args=(name,), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    told = [heard.get(timeout=LIMIT_S) for _ in range(20)]
    for thread in threads:
        thread.join(LIMIT_S)

    for name in "abcd":
        of_thread = [one for one in told if one.detail.startswith(name)]
        assert of_thread == [large(f"{name}{n}") for n in range(5)]
