"""Named interleavings, second part: zombies, duplicates, and messages that share something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.ports import RecordKey
from supervisor.contract.wire.messages import Ending, Failure
from tests.broker.harness import rem_message
from tests.broker.model import Host, World, assert_once, new_world
from tests.broker.model_faults import Script, stop_for
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

HOUR_S = 3_600.0


def is_done(world: World, recording_id: str = "rec-1") -> bool:
    return world.item(recording_id).get("remState") == "DONE"


def holder(world: World, host: Host, recording_id: str = "rec-1") -> bool:
    """Say whether this host's worker is at it."""
    return recording_id in host.supervisor.jobs


@pytest.mark.parametrize("peer_is", ["done", "running", "failed"])
@pytest.mark.parametrize("is_asked_to_commit", [False, True])
def test_broker_stopped_longer_than_the_visibility_returns_as_a_zombie(
    tmp_path: Path, peer_is: str, is_asked_to_commit: bool
) -> None:
    """Whatever it was asked meanwhile, it lets go and writes nothing: the peer's word stands."""
    failures = (("rec-1", Failure.REJECTED),) if peer_is == "failed" else ()
    with new_world(tmp_path) as world:
        # Its worker stages while the broker is stopped, so that Commit waits for it.
        zombie = world.host(Plan(work_s=100.0 if is_asked_to_commit else 5_000.0, wanted=1))
        world.send()
        world.run(lambda: holder(world, zombie))
        zombie.is_stopped = True
        peer = world.host(Plan(work_s=500.0 if peer_is == "running" else 20.0, failures=failures))
        settled = {"done": ("DONE",), "running": ("CLAIMED",), "failed": ("FAILED",)}[peer_is]
        world.run(lambda: holder(world, peer) or bool(peer.supervisor.endings))
        world.run(lambda: world.item()["remState"] in settled and not peer.heard)
        before = dict(world.item())
        puts_before = len(world.objects.puts)

        zombie.is_stopped = False
        world.run_for(3.0)

        assert {**world.item(), "remLeaseUnix": 0} == {**before, "remLeaseUnix": 0}
        assert len(world.objects.puts) == puts_before
        assert zombie.supervisor.lost == ["rec-1"] or zombie.supervisor.endings == [("rec-1", Ending.DROPPED)]
        world.run(world.is_quiet)
        if peer_is == "failed":
            assert world.item()["remState"] == "FAILED"
        else:
            assert_once(world)


def test_broker_stopped_between_its_check_and_a_put_is_the_known_window(tmp_path: Path) -> None:
    """It may write a valid transcript of the same recording late; the record does not follow it,
    and its hash shows that the object is another attempt's."""
    with new_world(tmp_path) as world:
        zombie = world.host(Plan(wanted=1))
        Script(world).before("objects.put", stop_for(world, zombie, lambda: is_done(world)), nth=2)
        world.send()
        world.run(lambda: holder(world, zombie))
        world.host()

        world.run(world.is_quiet)

        assert world.completions == [RecordKey("user-9", "rec-1")]
        assert world.item()["remAttempt"] == 2
        document = json.loads(world.transcripts()["transcripts/user-9/dev-7/rec-1.json"])
        assert document["fullText"] == "What was said in rec-1."
        assert zombie.supervisor.endings == [("rec-1", Ending.DROPPED)]


def test_broker_stopped_before_its_fence_writes_nothing(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        zombie = world.host(Plan(wanted=1))
        stop = stop_for(world, zombie, lambda: is_done(world))
        zombie.supervisor.on_staged = lambda: Script(world).before("records.update", stop)
        world.send()
        world.run(lambda: holder(world, zombie))
        world.host()

        world.run(world.is_quiet)

        assert_once(world)
        assert len(world.objects.puts) == 2


def test_late_renewals_and_endings_of_a_zombie_leave_the_new_owners_record_alone(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        zombie = world.host(Plan(work_s=5_000.0, wanted=1))
        world.send()
        world.run(lambda: holder(world, zombie))
        zombie.is_stopped = True
        peer = world.host(Plan(work_s=50.0))
        world.run(lambda: holder(world, peer))
        token = world.item()["remToken"]

        zombie.is_stopped = False
        world.run_for(5.0)

        assert world.item()["remToken"] == token
        world.run(world.is_quiet)
        assert_once(world)
        assert world.item()["remAttempt"] == 2


def test_duplicate_while_active_on_the_same_host(tmp_path: Path) -> None:
    """The newer handle is adopted: with the old one nothing could be extended or deleted."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        message_id = world.send()
        world.run(lambda: holder(world, host))

        world.queue.deliver_again(message_id)
        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert host.supervisor.endings == [("rec-1", Ending.DONE)]


@pytest.mark.parametrize("work_s", [10.0, 200.0, 900.0])
def test_duplicate_while_active_on_another_host(tmp_path: Path, work_s: float) -> None:
    """The other host finds the record taken; that it took the handle over must not cost the work."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=work_s, wanted=1))
        message_id = world.send()
        world.run(lambda: holder(world, host))
        other = world.host(Plan(work_s=work_s))

        world.queue.deliver_again(message_id)
        world.run(world.is_quiet)

        assert_once(world)
        assert len(host.supervisor.endings) + len(other.supervisor.endings) >= 1
        assert len(world.completions) == 1


def test_duplicate_after_done_and_the_dispatcher_resetting_status(tmp_path: Path) -> None:
    """REM's dispatcher sets TRANSCRIBING on every S3 event: the second message mends that, and is gone."""
    with new_world(tmp_path) as world:
        world.host()
        world.send()
        world.run(world.is_quiet)
        puts = list(world.objects.puts)

        world.send()  # a new message of the same recording, status TRANSCRIBING again
        assert world.item()["status"] == "TRANSCRIBING"
        world.run(world.is_quiet)

        assert_once(world)
        assert world.objects.puts == puts
        assert world.item()["remAttempt"] == 1


def test_dispatcher_resetting_status_while_we_work_and_while_we_commit(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host()
        script = Script(world)
        for nth in (1, 2):
            script.after("objects.put", lambda: world.item().update(status="TRANSCRIBING"), nth=nth)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)


@pytest.mark.parametrize("hosts", [1, 2])
def test_two_messages_with_one_id(tmp_path: Path, hosts: int) -> None:
    with new_world(tmp_path) as world:
        for _ in range(2):
            world.send()
        for _ in range(hosts):
            world.host()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_two_recordings_under_one_id_are_done_one_after_the_other(tmp_path: Path) -> None:
    """The later audio is news under an old name: the record ends with it, and never mixes the two."""
    with new_world(tmp_path) as world:
        world.host()
        world.send()
        world.send("rec-1", key="raw/dev-7/2026/11/23/other.wav")

        world.run(world.is_quiet)

        assert world.item()["remState"] == "DONE"
        assert world.item()["remAttempt"] == 2
        assert world.queue.messages == {}


def test_force_transcribes_a_finished_recording_anew(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host()
        world.send()
        world.run(world.is_quiet)

        world.send("rec-1", force=True)
        world.run(world.is_quiet)

        assert world.item()["remState"] == "DONE"
        assert world.item()["remAttempt"] == 2
        assert len(world.objects.puts) == 4


def notification(*keys: str) -> dict[str, Any]:
    """One S3 event about several objects."""
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}
        for key in keys
    ]
    return {"Records": records}


def test_message_with_three_jobs_of_which_one_fails(tmp_path: Path) -> None:
    """Two transcripts, one record that says why not, and the message buried with that reason."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host()
        for name in ("a", "c"):
            world.objects.stored["raw", f"{name}.wav"] = b"audio"
        world.queue.send(json.dumps(notification("a.wav", "missing.wav", "c.wav")), {})

        world.run(world.is_quiet)

        states = sorted(item["remState"] for item in world.records.items.values())
        assert states == ["DONE", "DONE", "FAILED"]
        assert len(world.transcripts()) == 4
        assert len(world.queue.dead_letters) == 1
        assert "missing.wav" in world.queue.dead_letters[0].reason
        assert sorted(ending for _, ending in host.supervisor.endings) == [
            Ending.DONE,
            Ending.DONE,
            Ending.FAILED,
        ]


def test_message_with_three_jobs_survives_its_brokers_death_after_the_first(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(wanted=1))
        for name in ("a", "b", "c"):
            world.objects.stored["raw", f"{name}.wav"] = b"audio"
        world.queue.send(json.dumps(notification("a.wav", "b.wav", "c.wav")), {})
        world.run(lambda: len(world.completions) == 1)
        host.broker_dies()

        world.run(world.is_quiet)

        assert [item["remState"] for item in world.records.items.values()] == ["DONE"] * 3
        assert [item["remAttempt"] for item in world.records.items.values()] == [1] * 3
        assert len(world.completions) == 3


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("is_seen_by_a_peer", [False, True])
def test_wall_clock_stepped_by_an_hour_in_mid_job(
    tmp_path: Path, step_s: float, is_seen_by_a_peer: bool
) -> None:
    """Leases of messages do not care; a record that seems to have run out costs a second attempt at most."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=150.0, wanted=1))
        message_id = world.send()
        world.run(lambda: holder(world, host))
        world.wall_step_s = step_s
        if is_seen_by_a_peer:
            world.host(Plan(work_s=150.0))
            world.queue.deliver_again(message_id)

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] <= (2 if is_seen_by_a_peer else 1)


def test_message_sent_before_its_peers_record_is_free_is_not_lost(tmp_path: Path) -> None:
    """Two users may give one recording the same id: these are two jobs."""
    with new_world(tmp_path) as world:
        world.host()
        world.send("rec-1")
        other = rem_message("rec-1", userId="user-2")
        world.queue.send(json.dumps(other), {})

        world.run(world.is_quiet)

        assert {key.user_id for key in world.completions} == {"user-9", "user-2"}
