"""The control socket for real: what people ask is answered, what makes no sense costs its sender alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional, cast

import pytest

from supervisor import control as ct
from supervisor import snapshot
from supervisor.contract import clock
from supervisor.contract.settings import Mistake, Settings, SettingsWrong
from supervisor.control import Control
from supervisor.loop import Service
from supervisor.pool import PoolEvent
from supervisor.requests import Requests
from tests.supervisor.simulator import Host
from tests.supervisor.test_snapshot import facts

LIMIT_S = 10.0


class Desk:
    """What `Requests` needs of a service, with a host in virtual time behind it."""

    def __init__(self, host: Host) -> None:
        self.host, self.pool = host, host.pool
        self.loaded = SimpleNamespace(settings=Settings())
        self.notices = SimpleNamespace(resumed=lambda: None)
        self.wrong: Optional[SettingsWrong] = None

    def post(self, event: PoolEvent) -> None:
        self.host.post(event)

    def picture(self) -> dict[str, Any]:
        return snapshot.take(self.pool, facts(self.host))

    def reload(self) -> str:
        if self.wrong is not None:
            raise self.wrong
        return "nothing has changed"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> Mapping[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), LIMIT_S)
        return cast("Mapping[str, Any]", json.loads(line))

    async def ask(self, **request: Any) -> Mapping[str, Any]:
        await self.send(json.dumps(request).encode() + b"\n")
        return await self.reply()

    async def is_closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(1), LIMIT_S) == b""
        return True


class Stage:
    """A control server on a socket of its own, and clients for it."""

    def __init__(self, path: str, host: Host) -> None:
        self.path, self.host, self.desk = path, host, Desk(host)
        self.control = Control(path, "", Requests(cast("Service", self.desk)).answer)
        self._clients: list[Client] = []

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_unix_connection(self.path, limit=2**20)))
        return self._clients[-1]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        await self.control.open()
        try:
            yield
        finally:
            for client in self._clients:
                client.writer.close()
            await self.control.close()


Story = Callable[[Stage], Awaitable[None]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's name, which pytest's own folder may not be."""
    made = Path(tempfile.mkdtemp(prefix="rem-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def play(folder: Path) -> Callable[[Story], None]:
    """Play a story on a service with two workers, one of them at work."""

    def run(story: Story) -> None:
        async def all_of_it() -> None:
            # Requests are dated by the host's own clock.
            host = Host(workers=2, now_s=clock.now_s()).begin("a", takes_s=60).run(10)
            stage = Stage(str(folder / "control.sock"), host)
            async with stage.open():
                await story(stage)

        asyncio.run(all_of_it())

    return run


# --- what is asked ------------------------------------------------------------------------


def test_status_is_the_picture(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        reply = await (await stage.client()).ask(do="status")

        assert reply["ok"] is True
        assert reply["status"]["version"] == 1
        assert [slot["name"] for slot in reply["status"]["slots"]] == ["broker", "gpuwatch", "w0", "w1"]

    play(story)


def test_one_connection_may_ask_many_times(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        client = await stage.client()
        await client.send(b'{"do":"status"}\n{"do":"jobs"}\n{"do":"status"}\n')

        replies = [await client.reply() for _ in range(3)]

        assert [reply["ok"] for reply in replies] == [True] * 3
        (job,) = replies[1]["jobs"]
        assert (job["id"], job["stage"], job["attempt"]) == ("a", "given", 1)
        assert job["slot"] in ("w0", "w1")

    play(story)


def test_drain_and_resume_reach_the_workers(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        client = await stage.client()

        assert (await client.ask(do="drain", deadline_s=60))["ok"] is True
        assert stage.host.pool.mode.value == "draining"
        assert stage.host.pool.deadline_at_s is not None
        assert (await client.ask(do="resume"))["ok"] is True
        assert stage.host.pool.mode.value == "running"

    play(story)


def test_drain_of_one_slot_names_it_and_leaves_the_other(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        reply = await (await stage.client()).ask(do="drain", slots=["w1"], deadline_s=60)

        assert "w1" in reply["text"]
        assert (stage.host.pool.mode.value, stage.host.state("w0")) == ("running", "ready")
        assert stage.host.state("w1") in ("draining", "stopped")

    play(story)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "fly"}, "unknown request 'fly'; known: status"),
        ({}, "unknown request 'None'"),
        ({"do": ["status"]}, "unknown request"),
        ({"do": "drain", "slots": ["w9"]}, "there is no worker slot 'w9'; there are: w0, w1"),
        ({"do": "drain", "slots": "w0"}, "slots must be a list of names"),
        ({"do": "drain", "slots": [1]}, "slots must be a list of names"),
        ({"do": "drain", "slots": ["broker"]}, "there is no worker slot 'broker'"),
        ({"do": "drain", "deadline_s": -1}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": "soon"}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": True}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": float("nan")}, "from 0 to 86400"),
        ({"do": "restart", "slot": "w9"}, "there is no slot 'w9'"),
        ({"do": "release", "slot": "w0"}, "w0 is not held, it is ready"),
        ({"do": "release"}, "there is no slot 'None'"),
    ],
)
def test_what_can_not_be_granted_is_refused_with_a_reason_and_changes_nothing(
    play: Callable[[Story], None], request_: dict[str, Any], words: str
) -> None:
    async def story(stage: Stage) -> None:
        before = {name: member.slot for name, member in stage.host.pool.members.items()}
        client = await stage.client()

        reply = await client.ask(**request_)

        assert reply["ok"] is False
        assert words in reply["error"]
        assert {name: member.slot for name, member in stage.host.pool.members.items()} == before
        assert (await client.ask(do="status"))["ok"] is True  # the connection is as good as before

    play(story)


def test_restart_of_a_working_slot_finishes_its_job_first(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        (busy,) = stage.host.slots_of("a")
        reply = await (await stage.client()).ask(do="restart", slot=busy)

        assert reply["text"] == f"{busy} finishes its job, then starts again"
        assert stage.host.run(80).slot(busy).restarts == 1
        assert stage.host.slots_of("a") == [busy]

    play(story)


def test_wrong_settings_are_refused_with_every_mistake(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        stage.desk.wrong = SettingsWrong(
            [Mistake("config.toml", "queue.lease_s", "too short", "Set it to 30")] * 2
        )

        reply = await (await stage.client()).ask(do="reload")

        assert reply["ok"] is False
        assert reply["error"].count("config.toml: queue.lease_s: too short. Set it to 30") == 2

    play(story)


@pytest.mark.parametrize("verb", ["drain", "resume", "restart", "release", "reload"])
def test_nothing_is_granted_once_the_end_is_ordered(play: Callable[[Story], None], verb: str) -> None:
    async def story(stage: Stage) -> None:
        stage.host.stop()
        client = await stage.client()

        assert (await client.ask(do=verb, slot="w0"))["error"] == "the supervisor is stopping"
        assert (await client.ask(do="status"))["status"]["supervisor"]["state"] == "stopping"

    play(story)


# --- what makes no sense ------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\n", b"\xff\xfe\n", b"[]\n", b"\n", b"[" * 9000 + b"\n"])
def test_garbage_is_answered_once_and_ends_that_connection_alone(
    play: Callable[[Story], None], garbage: bytes
) -> None:
    async def story(stage: Stage) -> None:
        neighbour, client = await stage.client(), await stage.client()
        await client.send(garbage)

        reply = await client.reply()
        assert (reply["ok"], reply["error"].startswith("not a request")) == (False, True)
        assert await client.is_closed()
        assert (await neighbour.ask(do="status"))["ok"] is True

    play(story)


def test_request_that_is_too_long_is_refused_and_ends_the_connection(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        client = await stage.client()
        await client.send(b'{"do":"' + b"x" * ct.REQUEST_BYTES_MOST + b'"}\n')

        assert "over 65536 bytes" in (await client.reply())["error"]
        assert await client.is_closed()

    play(story)


def test_half_a_request_does_nothing_and_harms_nobody(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        half, well = await stage.client(), await stage.client()
        await half.send(b'{"do":"dra')
        assert (await well.ask(do="status"))["ok"] is True

        half.writer.write_eof()

        assert (await half.reply())["ok"] is False
        assert await half.is_closed()
        assert stage.host.pool.mode.value == "running"

    play(story)


def test_client_that_leaves_without_its_answer_harms_nobody(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        for _ in range(20):
            rude = await stage.client()
            await rude.send(b'{"do":"status"}\n' * 50)
            rude.writer.transport.abort()

        assert (await (await stage.client()).ask(do="status"))["ok"] is True

    play(story)


def test_silent_client_is_let_go(play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ct, "IDLE_S", 0.05)

    async def story(stage: Stage) -> None:
        assert await (await stage.client()).is_closed()

    play(story)


def test_sixty_fifth_client_is_sent_away_until_another_leaves(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        clients = [await stage.client() for _ in range(ct.CLIENTS_MOST)]
        for client in clients:
            assert (await client.ask(do="status"))["ok"] is True

        assert await (await stage.client()).is_closed()

        clients[0].writer.close()
        for _ in range(200):  # its leaving is heard of a moment later
            late = await stage.client()
            with contextlib.suppress(ConnectionError, json.JSONDecodeError):
                assert (await late.ask(do="status"))["ok"] is True
                return
        pytest.fail("the free place was not given again")

    play(story)


# --- the socket ---------------------------------------------------------------------------


def test_socket_is_for_this_user_alone_whatever_the_umask_and_is_gone_at_the_end(folder: Path) -> None:
    path = folder / "control.sock"

    async def story() -> None:
        control = Control(str(path), "", lambda request: {})
        await control.open()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await control.close()

    before = os.umask(0o000)
    try:
        asyncio.run(story())
        assert os.umask(0o000) == 0  # and the umask is as it was
    finally:
        os.umask(before)
    assert not path.exists()


def test_socket_that_a_dead_supervisor_left_is_replaced(folder: Path) -> None:
    path = folder / "control.sock"

    async def story() -> None:
        path.write_text("left behind", encoding="ascii")
        control = Control(str(path), "", lambda request: {"answer": 42})
        await control.open()
        client = Client(*await asyncio.open_unix_connection(str(path)))
        assert await client.ask(do="anything") == {"ok": True, "answer": 42}
        client.writer.close()
        await control.close()

    asyncio.run(story())
