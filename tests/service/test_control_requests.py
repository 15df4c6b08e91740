"""What people ask over the control socket is granted, or refused with a reason."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

import pytest

from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.settings.mistakes import Mistake, SettingsWrong
from tests.service.control_stage import Stage, Story

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
        ({"do": "drain", "slots": ["w9"]}, "there is no worker slot 'w9'; known slots: w0, w1"),
        ({"do": "drain", "slots": "w0"}, "slots must be a list of names"),
        ({"do": "drain", "slots": [1]}, "slots must be a list of names"),
        ({"do": "drain", "slots": ["broker"]}, "there is no worker slot 'broker'"),
        ({"do": "drain", "deadline_s": -1}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": "soon"}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": True}, "from 0 to 86400"),
        ({"do": "drain", "deadline_s": float("nan")}, "from 0 to 86400"),
        ({"do": "restart", "slot": "w9"}, "there is no slot 'w9'"),
        ({"do": "release", "slot": "w0"}, "w0 is not held; its state is ready"),
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

        assert reply["text"].startswith(f"{busy} restarts after its jobs. 1 running job may finish")
        assert stage.host.run(80).slot(busy).restarts == 1
        assert stage.host.slots_of("a") == [busy]

    play(story)


def test_restart_on_a_drained_host_is_refused_with_what_to_do(play: Callable[[Story], None]) -> None:
    """It started a worker that got no work, and the host called itself drained."""

    async def story(stage: Stage) -> None:
        client = await stage.client()
        await client.ask(do="drain")
        for _ in range(2):
            reply = await client.ask(do="restart", slot="w0")

            assert reply["ok"] is False
            assert "`rem-supervisor resume w0` starts it" in reply["error"]
            stage.host.run(200)
        assert (await client.ask(do="status"))["status"]["supervisor"]["state"] == "drained"
        assert (await client.ask(do="restart", slot="broker"))["ok"] is True

    play(story)


def test_release_on_a_drained_host_is_refused_with_what_to_do(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        member = stage.host.pool.members["w0"]
        member.slot = dataclasses.replace(member.slot, state=sl.SlotState.HELD)
        stage.host.pool.mode = ev.Mode.DRAINED

        reply = await (await stage.client()).ask(do="release", slot="w0")

        assert reply["ok"] is False
        assert "the service is drained: w0 would get no jobs" in reply["error"]

    play(story)


def test_settings_are_told_with_their_origins(play: Callable[[Story], None]) -> None:
    async def story(stage: Stage) -> None:
        stage.desk.loaded.origins = {"queue.lease_s": "config.toml"}

        reply = await (await stage.client()).ask(do="settings")

        assert reply["settings"]["queue"]["lease_s"] == 60
        assert reply["origins"] == {"queue.lease_s": "config.toml"}

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
