"""The control socket for real: what makes no sense costs its sender alone."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from supervisor.service.control import server as ct
from supervisor.service.control.server import ControlServer
from supervisor.service.control.socket_file import ControlSocket, GroupUnusable, SocketUnusable
from tests.service.control_stage import Client, Stage, Story

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


def test_client_that_sends_no_request_is_let_go_soon(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ct, "REQUEST_S", 0.05)

    async def story(stage: Stage) -> None:
        half = await stage.client()
        await half.send(b'{"do":')
        assert await (await stage.client()).is_closed()
        assert await half.is_closed()

    play(story)


def test_client_that_falls_silent_after_a_request_is_let_go(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ct, "IDLE_S", 0.05)

    async def story(stage: Stage) -> None:
        client = await stage.client()
        assert (await client.ask(do="status"))["ok"] is True
        assert await client.is_closed()

    play(story)


def test_a_newcomer_is_answered_however_many_connections_stand_half_open(
    play: Callable[[Story], None],
) -> None:
    """64 silent connections shut `status` and `drain` out for a minute."""

    async def story(stage: Stage) -> None:
        watching = await stage.client()
        silent = [await stage.client() for _ in range(ct.CLIENTS_MOST - 1)]
        assert (await watching.ask(do="status"))["ok"] is True  # now all others are silent for longer
        more = [await stage.client() for _ in range(ct.CLIENTS_MOST // 2)]

        assert (await (await stage.client()).ask(do="status"))["ok"] is True

        assert await silent[0].is_closed()
        assert (await watching.ask(do="status"))["ok"] is True
        assert len(stage.control._clients) <= ct.CLIENTS_MOST
        assert more

    play(story)


def test_a_user_who_floods_the_socket_loses_connections_of_his_own() -> None:
    def client(uid: int, since_s: float) -> Any:
        return SimpleNamespace(uid=uid, since_s=since_s)

    quiet, flood = client(0, 1.0), [client(1000, 5.0 + n) for n in range(3)]
    newcomer = client(1000, 9.0)

    assert ct._whom_to_drop([quiet, *flood, newcomer], newcomer) is flood[0]


# --- the socket ---------------------------------------------------------------------------


def test_socket_is_for_this_user_alone_whatever_the_umask_and_is_gone_at_the_end(folder: Path) -> None:
    path = folder / "control.sock"

    async def story() -> None:
        control = ControlServer(str(path), "", lambda request: {})
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
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(path))
        dead.close()  # the file stays, nobody listens
        control = ControlServer(str(path), "", lambda request: {"answer": 42})
        await control.open()
        client = Client(*await asyncio.open_unix_connection(str(path)))
        assert await client.ask(do="anything") == {"ok": True, "answer": 42}
        client.writer.close()
        await control.close()

    asyncio.run(story())


def _file(path: Path) -> None:
    path.write_text("precious", encoding="ascii")


def _link(path: Path) -> None:
    path.with_name("precious").write_text("precious", encoding="ascii")
    path.symlink_to(path.with_name("precious"))


@pytest.mark.parametrize(
    ("put", "named"),
    [(_file, "a file"), (Path.mkdir, "a folder"), (_link, "a symbolic link"), (os.mkfifo, "a pipe")],
    ids=["file", "folder", "link", "pipe"],
)
def test_what_is_no_socket_is_left_as_it_is_and_named(
    folder: Path, put: Callable[[Path], None], named: str
) -> None:
    """REM_SOCKET that named an ordinary file by mistake removed it."""
    path = folder / "control.sock"
    put(path)
    before = path.lstat()

    with pytest.raises(SocketUnusable, match=named):
        ControlSocket(str(path), "")

    assert path.lstat() == before


def test_a_socket_on_which_another_program_listens_is_left_to_it(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as caller:
        other.bind(str(path))
        other.listen()

        with pytest.raises(SocketUnusable, match="another program listens"):
            ControlSocket(str(path), "")

        caller.connect(str(path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket to another user")
def test_another_users_dead_socket_is_left_to_him(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    os.chown(path, 65_534, -1)

    with pytest.raises(SocketUnusable, match="a socket of user"):
        ControlSocket(str(path), "")


def test_the_end_of_a_service_leaves_its_successors_socket_alone(folder: Path) -> None:
    """The state directory was removed in mid-run, a second service started on the same path."""
    path = folder / "control.sock"
    first = ControlSocket(str(path), "")
    path.unlink()
    second = ControlSocket(str(path), "")

    first.remove()
    assert path.exists()
    second.remove()
    assert not path.exists()
    first.listener.close()
    second.listener.close()


def test_a_group_that_does_not_exist_is_named_and_nothing_is_made(folder: Path) -> None:
    with pytest.raises(GroupUnusable, match="no group 'no-such-group' on this host"):
        ControlSocket(str(folder / "control.sock"), "no-such-group")

    assert list(folder.iterdir()) == []


def test_members_of_the_group_may_use_the_socket(folder: Path) -> None:
    group = grp.getgrgid(os.getgid())
    made = ControlSocket(str(folder / "control.sock"), group.gr_name)

    found = (folder / "control.sock").stat()
    made.remove()
    made.listener.close()

    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group.gr_gid)
