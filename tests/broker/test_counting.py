"""The broker says that it lives, whatever its calls wait for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

from supervisor.broker.ports.ports import Counts
from supervisor.broker.receiving.counting import BEAT_S, Counting
from supervisor.contract.wire.messages import QueueState


class Crew:
    """Timers that the test moves; calls are answered when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.open: list[Callable[[Any], None]] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def after(self, wait_s: float, event: Callable[[], None]) -> None:
        self._timers.append((self.now_s + wait_s, event))

    def do(self, lane: str, call: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self.open.append(then)

    def pass_s(self, length_s: float) -> None:
        until_s = self.now_s + length_s
        while self._timers and min(at_s for at_s, _ in self._timers) <= until_s:
            self._timers.sort(key=lambda timer: timer[0])
            self.now_s, event = self._timers.pop(0)
            event()
        self.now_s = until_s


def test_a_count_that_gets_no_answer_silences_nobody() -> None:
    """A broker that waited for the network said nothing, as one that hangs."""
    executor, told = Crew(), list[QueueState]()
    backend = SimpleNamespace(kind="aws", beat_queue=SimpleNamespace(counts=lambda: None))
    context: Any = SimpleNamespace(
        executor=executor, backend=backend, in_flight=SimpleNamespace(on_the_way=lambda: 2), send=told.append
    )
    receiver: Any = SimpleNamespace(is_proved=True)
    Counting(context, receiver).begin()

    executor.pass_s(1)
    executor.open.pop()(Counts(7, 1))
    executor.pass_s(10 * BEAT_S)

    assert len(executor.open) == 1, "one count at a time"
    assert len(told) >= 10
    assert set(told) == {QueueState(7, 1, 2)}
