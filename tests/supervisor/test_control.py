"""The control socket for real: what makes no sense costs its sender alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Callable

import pytest

from supervisor import control as ct
from supervisor.control import Control
from tests.supervisor.control_stage import Client, Stage, Story

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
