"""The broker in virtual time: its real desk over ports in memory, dying wherever the test wants.

A `World` has one queue, one table, one store and any number of hosts. Every call that a
broker makes on something outside itself (ports, link, the files an heir will read) passes
`World.call`, which counts it and may kill the process before it takes effect, or after.
Files are real; time, order and chance are the test's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Optional
from unittest import mock

from supervisor.broker.backends.failed_jobs import FailedJobs
from supervisor.broker.dispatcher import Dispatcher
from supervisor.broker.in_flight.lease_journal import LeaseJournal
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.ports import Change, Item, RecordKey
from supervisor.broker.service import assemble
from supervisor.contract import clock
from supervisor.contract.wire.messages import Leave
from supervisor.settings.schema import QueueSettings, Settings
from tests.broker.harness import rem_message
from tests.broker.model_crew import StepCrew, Timers
from tests.broker.model_ports import Tapped
from tests.broker.model_supervisor import Plan, Supervisor, text_of
from tests.support.memory_backend import FakeObjects, FakeQueue, FakeRecords, QueueRules

START_UNIX_S = 1_795_000_000.0
HEIR_AFTER_S = 1.0
LIMIT_S = 3_000.0


class Killed(BaseException):
    """The process that made this call is no more."""


class World:
    """What all hosts share, and the only loop."""

    def __init__(self, folder: Path, rules: Optional[QueueRules] = None) -> None:
        self.now_s = 1_000.0
        self.wall_step_s = 0.0  # what somebody did to the wall clock
        self.queue = FakeQueue(lambda: self.now_s, self.wait, rules)
        self.records = FakeRecords()
        self.objects = FakeObjects()
        self.hosts: list[Host] = []
        self.timers = Timers()
        self.calls: list[str] = []
        self.completions: list[RecordKey] = []
        self.before: Callable[[int, str], None] = lambda number, name: None
        self.after: Callable[[int, str], None] = lambda number, name: None
        self.choose: Callable[[int], int] = lambda count: 0
        self._folder = folder
        self._names = itertools.count()

    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s

    def host(
        self, plan: Optional[Plan] = None, skew_s: float = 0.0, lease_s: int = 60, **changes: Any
    ) -> Host:
        """Start one more host."""
        host = Host(
            self, self._folder / f"host-{next(self._names)}", plan or Plan(), changes, skew_s, lease_s
        )
        self.hosts.append(host)
        host.start()
        return host

    def send(self, recording_id: str = "rec-1", **changed: Any) -> str:
        """Be REM: a recording, its record, its message."""
        message = rem_message(recording_id, **changed)
        self.objects.stored["raw", message["key"]] = f"audio of {recording_id}".encode()
        key = RecordKey(message["userId"], recording_id)
        plain = {"PK": key.user_id, "SK": recording_id, "title": "kept"}
        self.records.items.setdefault(key, plain)["status"] = "TRANSCRIBING"
        return self.queue.send(json.dumps(message), {})

    def call(self, name: str, make: Callable[[], Any]) -> Any:
        """Make one call on the outside."""
        number = len(self.calls)
        self.calls.append(name)
        self.before(number, name)
        result = make()
        self.after(number, name)
        return result

    def run(self, until: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Let things happen until it is so."""
        end_s = self.now_s + limit_s
        while not until():
            if not self._step():
                assert self.now_s < end_s, f"not within {limit_s} s; {self.describe()}"
                self._pass_time()

    def run_for(self, wait_s: float) -> None:
        end_s = self.now_s + wait_s
        self.timers.add(end_s, lambda: None)
        self.run(lambda: self.now_s >= end_s, wait_s + 1.0)

    def is_quiet(self) -> bool:
        """Say whether nothing is left to do anywhere."""
        return not self.queue.messages and not any(host.is_busy() for host in self.hosts)

    def item(self, recording_id: str = "rec-1") -> Item:
        return self.records.items[RecordKey("user-9", recording_id)]

    def transcripts(self) -> dict[str, bytes]:
        return {key: data for (bucket, key), data in self.objects.stored.items() if bucket == "transcripts"}

    def describe(self) -> str:
        leases = [dict(host.dispatcher._in_flight.leases) if host.dispatcher else None for host in self.hosts]
        return f"messages {self.queue.messages}, records {self.records.items}, leases {leases}"

    def _step(self) -> bool:
        able: list[Callable[[], None]] = []
        if self.timers.is_due(self.now_s):
            able.append(lambda: self.timers.pop()())
        for host in self.hosts:
            if host.heard:
                able.append(host.listen)
            if host.is_live() and host.executor.can_turn():
                able.append(host.turn)
        if able:
            able[self.choose(len(able))]()
        return bool(able)

    def _pass_time(self) -> None:
        clocks = [self.timers, *(host.executor.timers for host in self.hosts if host.is_live())]
        moments = [at_s for at_s in (one.next_at_s() for one in clocks) if at_s is not None]
        self.now_s = max(self.now_s, min(moments))


class Host:
    """One state directory, its supervisor, and the broker that lives there just now."""

    def __init__(
        self, world: World, folder: Path, plan: Plan, changes: dict[str, Any], skew_s: float, lease_s: int
    ) -> None:
        self.folder = folder
        self.dispatcher: Optional[Dispatcher] = None
        self.heard: list[Any] = []
        self.lives = 0
        self.boot_id = "boot-1"
        self.is_gone = False
        self.skew_s = skew_s  # how far its measure of the table's clock is from the truth
        self.is_stopped = False  # as by SIGSTOP: its broker does nothing, and time passes
        self.is_left_alone = False  # nobody starts an heir by himself
        self._world = world
        self._plan = plan
        self._changes = changes
        self._lease_s = lease_s
        self.executor = StepCrew(lambda: world.now_s, lambda count: world.choose(count))
        self.supervisor = self._new_supervisor()

    def start(self) -> None:
        """Start a broker on this state directory, unless one lives."""
        if self.dispatcher is not None or self.is_gone:
            return
        world = self._world
        self.lives += 1
        queue = Tapped(world.call, "queue", world.queue)
        records = Tapped(world.call, "records", world.records, self.skew_s)
        objects = Tapped(world.call, "objects", world.objects)
        backend = Backend(
            "fake", "memory", queue, records, objects, queue, records, "raw", "transcripts",
            **{"batch_count": 10, "long_visibility_s": 900.0, "rest_s": 1.0, "poll_s": 0.0, **self._changes},
        )  # fmt: skip
        cap_s = world.queue.rules.cap_s
        settings = Settings(
            queue=QueueSettings(lease_s=self._lease_s, hold_most_s=cap_s), state_dir=str(self.folder)
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.executor = StepCrew(lambda: world.now_s, lambda count: world.choose(count))
        try:
            self.dispatcher = assemble(
                settings, self.folder, backend, self.executor, self._say, self.boot_id, lambda: 0.5
            )
            self.dispatcher.open()
        except Killed:
            self.broker_dies()

    def turn(self) -> None:
        assert self.dispatcher is not None
        try:
            self.dispatcher.turn()
        except Killed:
            self.broker_dies()
            return
        if self.dispatcher.is_over:
            self.dispatcher = None

    def listen(self) -> None:
        self.supervisor.hear(self.heard.pop(0))

    def tell(self, message: Any) -> None:
        """Say something to the broker, if there is one."""
        dispatcher = self.dispatcher
        if dispatcher is not None:
            self.executor.post(lambda: dispatcher.on_message(message))

    def broker_dies(self) -> None:
        """Kill the broker; its supervisor starts an heir by and by."""
        self.dispatcher = None
        self.executor.forget()
        if not self.is_left_alone:
            self._world.timers.add(self._world.now_s + HEIR_AFTER_S, self.start)

    def supervisor_dies(self) -> None:
        """Kill the supervisor and with it the worker; what it was about to hear is lost."""
        self.supervisor.is_gone = True
        self.supervisor = self._new_supervisor()
        self.heard.clear()
        if self.dispatcher is not None:
            self.executor.post(self.dispatcher.on_supervisor_gone)
        self.is_left_alone = True

    def dies(self) -> None:
        """Kill everything on this host at once."""
        self.is_left_alone = True
        self.broker_dies()
        self.supervisor_dies()

    def comes_back(self, after_s: float = HEIR_AFTER_S, boot_id: str = "boot-1") -> None:
        """Start it all anew on the same state directory."""
        self.boot_id = boot_id
        self.is_left_alone = False
        self._world.timers.add(self._world.now_s + after_s, self._start_when_alone)

    def leave(self, within_s: float = 110.0) -> None:
        """Be a supervisor that stops."""
        self.is_left_alone = True
        self.tell(Leave(self._world.now_s + within_s))

    def failed_on_this_host(self) -> dict[str, str]:
        """Give what `jobs --failed` tells here: ids and reasons."""
        return {job.id: job.reason for job in FailedJobs(self.folder).newest_first()}

    def is_live(self) -> bool:
        return self.dispatcher is not None and not self.is_stopped

    def is_busy(self) -> bool:
        if self.is_gone:
            return False
        if self.dispatcher is None:
            return bool(self.heard) or not self.is_left_alone
        return bool(self.dispatcher._in_flight.leases or self.heard or self.supervisor.jobs)

    def _start_when_alone(self) -> None:
        """As the lock on the state directory has it: no two brokers at once."""
        if self.dispatcher is not None:
            self._world.timers.add(self._world.now_s + 0.1, self._start_when_alone)
        else:
            self.start()

    def _say(self, message: Any) -> None:
        self._world.call(f"link.{type(message).__name__}", lambda: self.heard.append(message))

    def _new_supervisor(self) -> Supervisor:
        def after(wait_s: float, event: Callable[[], None]) -> None:
            self._world.timers.add(self._world.now_s + wait_s, event)

        return Supervisor(self.tell, after, self._plan)


@contextmanager
def new_world(folder: Path, rules: Optional[QueueRules] = None) -> Iterator[World]:
    """Give a world; while it lasts, every clock of this process is its own."""
    world = World(folder, rules)

    def tapped(cls: type, method: str) -> Any:
        original = getattr(cls, method)
        name = f"{cls.__name__}.{method}"
        return mock.patch.object(
            cls, method, lambda self, *values: world.call(name, lambda: original(self, *values))
        )

    def unix_s() -> float:
        return START_UNIX_S + world.now_s + world.wall_step_s

    def now_s() -> float:
        return world.now_s

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(clock, "now_s", now_s))
        stack.enter_context(mock.patch.object(clock, "wall_unix_s", unix_s))
        for cls, method in ((LeaseJournal, "save"), (LeaseJournal, "forget"), (Spool, "drop")):
            stack.enter_context(tapped(cls, method))
        stack.enter_context(_counting_completions(world))
        yield world


@contextmanager
def _counting_completions(world: World) -> Iterator[None]:
    original = world.records.update

    def update(key: RecordKey, change: Change) -> Any:
        was = world.records.items.get(key, {}).get("remState")
        answer = original(key, change)
        if was != "DONE" and world.records.items.get(key, {}).get("remState") == "DONE":
            world.completions.append(key)
        return answer

    with mock.patch.object(world.records, "update", update):
        yield


def assert_once(world: World, *recording_ids: str) -> None:
    """One transcript, one complete record, no message, no leftover."""
    for recording_id in recording_ids or ("rec-1",):
        item = world.item(recording_id)
        name = f"transcripts/user-9/dev-7/{recording_id}"
        assert item.get("remState") == "DONE", (item, world.queue.dead_letters)
        document = world.transcripts()[f"{name}.json"]
        assert item["status"] == "TRANSCRIBED"
        assert item["title"] == "kept"
        assert item["transcriptS3Key"] == f"{name}.json"
        assert item["remTranscriptSha256"] == hashlib.sha256(document).hexdigest()
        assert not {"remToken", "remOwner", "remLeaseUnix", "remCheckpoint"} & set(item), item
        assert json.loads(document)["fullText"] == text_of(recording_id)
        assert world.transcripts()[f"{name}.txt"].decode() == text_of(recording_id)
        assert world.completions.count(RecordKey("user-9", recording_id)) == 1
    assert world.queue.messages == {}
    for host in world.hosts:
        if not host.is_gone:
            assert not list((host.folder / "leases").glob("*.json"))
            # A result that was staged may lie for a day, without its audio; nothing else may.
            for folder in (host.folder / "spool").iterdir():
                left = {path.name for path in folder.iterdir()}
                assert left == {"staged.json", "transcript.json", "transcript.txt"}, left
            assert not host.supervisor.jobs
