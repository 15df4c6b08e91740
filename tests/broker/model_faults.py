"""What befalls single calls in the model: the world's part of a scenario, told by name and number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from supervisor.broker.ports.errors import Forbidden, TryLater
from tests.broker.model import Host, Killed, World

Deed = Callable[[], None]


@dataclass
class _Rule:
    side: str
    name: str
    first: int  # from which call of that name on, counted from 1
    last: int
    do: Deed
    seen: int = 0


class Script:
    """Does things before or after the n-th calls of a name."""

    def __init__(self, world: World) -> None:
        self._rules: list[_Rule] = []
        world.before = lambda number, name: self._play("before", name)
        world.after = lambda number, name: self._play("after", name)

    def before(self, name: str, do: Deed, nth: int = 1, times: int = 1) -> None:
        self._rules.append(_Rule("before", name, nth, nth + times - 1, do))

    def after(self, name: str, do: Deed, nth: int = 1, times: int = 1) -> None:
        self._rules.append(_Rule("after", name, nth, nth + times - 1, do))

    def _play(self, side: str, name: str) -> None:
        for rule in self._due(side, name):
            rule.do()

    def _due(self, side: str, name: str) -> Iterator[_Rule]:
        for rule in self._rules:
            if rule.side == side and name.startswith(rule.name):
                rule.seen += 1
                if rule.first <= rule.seen <= rule.last:
                    yield rule


def later(where: str = "queue", detail: str = "500") -> Deed:
    """Fail for now."""

    def fail() -> None:
        raise TryLater(where, detail)

    return fail


def forbidden(where: str = "queue") -> Deed:
    """Fail for want of rights."""

    def fail() -> None:
        raise Forbidden(where, "the security token is expired")

    return fail


def die() -> None:
    """Be the last thing that this process did."""
    raise Killed


def stop_for(world: World, host: Host, until: Callable[[], bool]) -> Deed:
    """Stop this host's broker inside a call while the others go on; then it continues."""

    def stop() -> None:
        host.is_stopped = True
        world.run(until)
        host.is_stopped = False

    return stop


def let_fail(world: World, error: Callable[[], Exception]) -> None:
    """Let the store fail for each audio whose name has `bad` in it, and for no other."""
    fetch = world.objects.fetch

    def fetched(bucket: str, key: str, *rest: Any) -> Any:
        if "bad" in key:
            raise error()
        return fetch(bucket, key, *rest)

    world.objects.fetch = fetched  # type: ignore[method-assign]
