"""One suite for queues: in memory, on SQLite, on moto and ministack."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.broker.backends.sqs import SqsQueue
from supervisor.broker.ports.ports import REMOVED, JobQueue
from tests.broker.harness import until
from tests.broker.ports_of_all import Ports

# Where an imitation differs from SQS, and so from what this suite may ask of it.
_HIDES_AGAIN = "an expired ChangeMessageVisibility hides the message again"
EXPECTED = {
    ("moto", "stale release"): "a stale ChangeMessageVisibility moves the new owner's message",
    ("moto", "expired extension"): _HIDES_AGAIN,
    ("ministack", "expired extension"): _HIDES_AGAIN,
}


def take(queue: JobQueue, visibility_s: float = 30.0) -> Any:
    (message,) = until(lambda: queue.receive(1, visibility_s, 0.0), "a message")
    return message


def test_a_message_is_delivered_once_and_counted(ports: Ports) -> None:
    ports.queue.send("hello", {"recordingId": "r"})

    message = take(ports.queue)

    assert (message.body, message.receive_count) == ("hello", 1)
    assert ports.queue.receive(1, 30.0, 0.0) == []


def test_deleted_is_gone_and_deleting_twice_is_no_error(ports: Ports) -> None:
    ports.queue.send("hello", {})
    message = take(ports.queue)

    ports.queue.delete(message.handle)
    ports.queue.delete(message.handle)

    assert (ports.queue.counts().waiting, ports.queue.counts().in_flight) == (0, 0)


def test_released_is_seen_again_at_once_with_a_new_handle(ports: Ports) -> None:
    ports.queue.send("hello", {})
    first = take(ports.queue)

    ports.queue.release(first.handle, 0.0)

    again = take(ports.queue)
    assert again.id == first.id
    assert again.receive_count == 2
    assert again.handle != first.handle


def test_release_with_a_wait_hides_the_message(ports: Ports) -> None:
    ports.queue.send("hello", {})

    ports.queue.release(take(ports.queue).handle, 30.0)

    assert ports.queue.receive(1, 30.0, 0.0) == []


def test_unextended_lease_ends_and_extended_lease_holds(ports: Ports) -> None:
    ports.queue.send("ends", {})
    ports.queue.send("holds", {})
    held = {message.body: message for message in (take(ports.queue, 2.0), take(ports.queue, 2.0))}

    refused = ports.queue.extend([held["holds"].handle], 60.0)

    assert refused == {}
    assert take(ports.queue).body == "ends"  # after the two seconds of its lease
    assert ports.queue.receive(1, 30.0, 0.0) == []


def test_nonsense_handle_is_refused_by_name_and_its_neighbour_extended(ports: Ports) -> None:
    ports.queue.send("hello", {})
    message = take(ports.queue)

    refused = ports.queue.extend(["no-such-handle", message.handle], 60.0)

    assert set(refused) == {"no-such-handle"}


def test_extension_of_a_removed_message_is_refused_as_such(ports: Ports) -> None:
    ports.queue.send("hello", {})
    message = take(ports.queue)
    ports.queue.delete(message.handle)

    assert ports.queue.extend([message.handle], 60.0) == {message.handle: REMOVED}


def test_stale_release_does_not_move_the_new_owners_message(
    ports: Ports, request: pytest.FixtureRequest
) -> None:
    expect(ports, "stale release", request)
    ports.queue.send("hello", {})
    stale = take(ports.queue, visibility_s=1.0)
    take(ports.queue)

    ports.queue.release(stale.handle, 0.0)

    assert ports.queue.receive(1, 30.0, 0.0) == []


def test_expired_handle_does_not_hide_the_message_again(ports: Ports, request: pytest.FixtureRequest) -> None:
    """SQS answers such an extension with 200 and does nothing: the deadline is ours to keep."""
    expect(ports, "expired extension", request)
    ports.queue.send("hello", {})
    expired = take(ports.queue, visibility_s=1.0)
    until(lambda: ports.queue.counts().waiting == 1, "the lease's end")

    ports.queue.extend([expired.handle], 60.0)

    assert len(ports.queue.receive(1, 30.0, 0.0)) == 1


def expect(ports: Ports, difference: str, request: pytest.FixtureRequest) -> None:
    """Mark the test as one that this imitation is known to fail; passing would be news."""
    if (ports.name, difference) in EXPECTED:
        request.applymarker(pytest.mark.xfail(reason=EXPECTED[ports.name, difference], strict=True))


def test_queue_says_that_it_can_hold(ports: Ports) -> None:
    assert ports.queue.can_hold() is True


def test_buried_is_out_of_circulation(ports: Ports) -> None:
    ports.queue.send("bad", {})

    assert ports.queue.bury(take(ports.queue), "Not audio.") is True

    assert (ports.queue.counts().waiting, ports.queue.counts().in_flight) == (0, 0)


def test_copy_is_a_new_message_whose_receives_go_on(ports: Ports) -> None:
    ports.queue.send("hello", {"recordingId": "r"})
    ports.queue.release(take(ports.queue).handle, 0.0)
    message = take(ports.queue)

    assert ports.queue.send_copy(message, 0.0) is True
    ports.queue.delete(message.handle)

    copied = take(ports.queue)
    assert (copied.body, copied.receives, message.receives) == ("hello", 3, 2)
    # SQLite buries nothing by itself, and counts on in its own column.
    assert copied.receive_count == (3 if ports.name == "local" else 1)
    assert copied.id != message.id
    assert copied.attributes == message.attributes


def test_copy_of_a_copy_counts_on_too(ports: Ports) -> None:
    ports.queue.send("hello", {f"name-{n}": "x" for n in range(9)})
    for _ in range(3):
        message = take(ports.queue)
        assert ports.queue.send_copy(message, 0.0) is True
        ports.queue.delete(message.handle)

    last = take(ports.queue)

    assert last.receives == 4
    assert last.attributes == message.attributes


def test_copy_with_a_wait_is_seen_later(ports: Ports) -> None:
    ports.queue.send("hello", {})
    message = take(ports.queue)

    ports.queue.send_copy(message, 30.0)
    ports.queue.delete(message.handle)

    assert ports.queue.receive(1, 30.0, 0.0) == []


def test_queue_tells_how_often_it_delivers(ports: Ports) -> None:
    """SQLite and the fake have no dead-letter queue of their own accord; REM's queue says 3."""
    assert ports.queue.receives_most() == (3 if isinstance(ports.queue, SqsQueue) else None)
