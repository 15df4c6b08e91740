"""SQS's rules that no imitation keeps, held on a virtual clock: what the model of the broker stands on."""

from __future__ import annotations

from typing import Optional

from supervisor.broker.ports.ports import Counts, Message
from tests.support.memory_backend import DeadLetter, FakeQueue, QueueRules


class Clock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s


def queue_with(body: str = "hello", rules: Optional[QueueRules] = None) -> tuple[FakeQueue, Clock]:
    clock = Clock()
    queue = FakeQueue(clock, clock.wait, rules)
    queue.send(body, {})
    return queue, clock


def take(queue: FakeQueue, visibility_s: float = 60.0) -> Message:
    (message,) = queue.receive(1, visibility_s, 0.0)
    return message


def test_extension_that_comes_too_late_is_answered_well_and_does_nothing() -> None:
    queue, clock = queue_with()
    message = take(queue)
    clock.wait(60.0)

    refused = queue.extend([message.handle], 60.0)

    assert refused == {}
    assert queue.counts() == Counts(1, 0)


def test_stale_handle_moves_and_deletes_nothing_of_the_new_owners() -> None:
    queue, clock = queue_with()
    stale = take(queue)
    clock.wait(60.0)
    fresh = take(queue)

    refused = queue.extend([stale.handle], 600.0)
    queue.release(stale.handle, 0.0)
    queue.delete(stale.handle)

    assert refused == {}
    assert queue.counts() == Counts(0, 1)
    clock.wait(60.0)
    assert take(queue).receive_count == fresh.receive_count + 1


def test_last_handle_deletes_even_after_its_time() -> None:
    queue, clock = queue_with()
    message = take(queue)
    clock.wait(60.0)

    queue.delete(message.handle)

    assert queue.counts() == Counts(0, 0)


def test_poll_whose_client_died_hides_the_next_message_for_its_whole_visibility() -> None:
    clock = Clock()
    queue = FakeQueue(clock, clock.wait)
    queue.leave_poll_behind(1, 60.0, wait_s=5.0)
    clock.wait(2.0)

    queue.send("hello", {})

    assert queue.receive(1, 60.0, wait_s=55.0) == []
    assert queue.receive(1, 60.0, wait_s=6.0)[0].receive_count == 2


def test_poll_whose_client_died_takes_nothing_after_its_wait() -> None:
    clock = Clock()
    queue = FakeQueue(clock, clock.wait)
    queue.leave_poll_behind(1, 60.0, wait_s=5.0)
    clock.wait(5.0)

    queue.send("hello", {})

    assert take(queue).receive_count == 1


def test_message_may_be_delivered_to_two_at_once() -> None:
    queue, _ = queue_with()
    one = take(queue)

    queue.deliver_again(one.id)

    other = take(queue)
    assert (other.id, other.receive_count) == (one.id, 2)
    assert other.handle != one.handle


def test_nothing_is_hidden_for_over_12_hours_from_its_receipt() -> None:
    queue, clock = queue_with()
    message = take(queue, 40_000.0)
    clock.wait(10_000.0)

    refused = queue.extend([message.handle], 33_201.0)

    assert refused == {message.handle: "InvalidParameterValue"}
    assert queue.extend([message.handle], 33_200.0) == {}
    clock.wait(33_200.0)
    assert queue.counts() == Counts(1, 0)


def test_message_received_too_often_goes_to_the_dead_letters_instead_of_out() -> None:
    queue, _ = queue_with("bad", QueueRules(max_receive_count=3))
    for _ in range(3):
        queue.release(take(queue).handle, 0.0)

    assert queue.receive(1, 60.0, 0.0) == []

    assert queue.dead_letters == [DeadLetter("message-1", "bad")]
    assert queue.counts() == Counts(0, 0)


def test_without_the_right_to_copy_a_bad_message_stays() -> None:
    queue, _ = queue_with("bad", QueueRules(max_receive_count=3, may_bury=False))

    assert queue.bury(take(queue), "Not audio.") is False

    assert queue.counts() == Counts(0, 1)
    assert queue.dead_letters == []
