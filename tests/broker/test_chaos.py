"""Brokers killed at random moments, one after the other, until all work is done."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, LocalRecords, open_database
from supervisor.broker.ports.ports import Counts, RecordKey
from supervisor.contract import clock
from supervisor.contract.wire.messages import Commit, Done, Keep, Ready, Wanted
from tests.broker.harness import BrokerProcess, local_settings, rem_message, stage

pytestmark = pytest.mark.slow
SEED = 20261122
JOBS = 40
LIVES = 25


def test_brokers_killed_at_random_lose_no_job_and_double_none(tmp_path: Path, audio: Path) -> None:
    settings = local_settings(tmp_path, lease_s=60)
    database = open_database(Path(settings.local.folder))
    queue, records = LocalQueue(database), LocalRecords(database)
    objects = LocalObjects(Path(settings.local.folder) / "objects")
    names = [f"rec-{n}" for n in range(JOBS)]
    for name in names:
        message = rem_message(name)
        objects.put("raw", message["key"], audio, "audio/wav")
        queue.send(json.dumps(message), {})
    chance = random.Random(SEED)

    for _ in range(LIVES):
        with BrokerProcess(settings) as broker:
            work_until(broker, clock.now_s() + chance.uniform(0.15, 0.5))
            broker.kill()
    with BrokerProcess(settings) as broker:
        work_until(broker, clock.now_s() + 60, lambda: queue.counts() == Counts(0, 0))

    items = [records.get(RecordKey("user-9", name)) or {} for name in names]
    assert [item.get("remState") for item in items] == ["DONE"] * JOBS
    # Every death was survived from the spool: no job was ever begun anew, but for those
    # whose broker died between taking the message and writing its lease down.
    assert sum(item["remAttempt"] for item in items) <= JOBS + LIVES
    for name in names:
        path = objects.path_of("transcripts", f"transcripts/user-9/dev-7/{name}.json")
        assert json.loads(path.read_text())["recordingId"] == name


def work_until(broker: BrokerProcess, end_at_s: float, is_done: object = lambda: False) -> None:
    """Be supervisor and worker until the moment comes, or all is done."""
    assert callable(is_done)
    while clock.now_s() < end_at_s and not is_done():
        broker.say(Wanted(3))
        for message in broker.gather(0.02):
            if isinstance(message, Ready):
                broker.say(Keep((message.card.job_id,)))
                if not message.card.staged:
                    stage(message.card)
                broker.say(Commit(message.card.job_id))
            elif isinstance(message, Done):
                assert message.ending.value in ("done", "dropped")
