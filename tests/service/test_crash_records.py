"""A fault of a device and the death it caused are one record, whichever is told first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from supervisor.pool.state.slot_types import Slot
from supervisor.service.crash_records import CrashLog, CrashRecord, LastLines


def death(at_unix_s: float, **device: Any) -> CrashRecord:
    return CrashRecord(
        "gpu0",
        7,
        at_unix_s,
        "crash",
        "killed by SIGABRT",
        "warm",
        1.0,
        False,
        ("job-1",),
        (),
        device,
        xids=(13,),
    )


def test_an_xid_that_is_told_after_the_death_joins_its_record(tmp_path: Path) -> None:
    log = CrashLog(tmp_path / "crashes")
    log.keep(death(1000.0, uuid="GPU-0", parent=None))
    log.keep(death(1001.0, uuid="GPU-1", parent=None))

    log.join("GPU-0", 79, 1003.0)
    log.join("GPU-0", 79, 1003.0)

    assert [record["xids"] for record in log.newest(2)] == [[13], [13, 79]]
    again = CrashLog(tmp_path / "crashes")
    assert [record["xids"] for record in again.newest(2)] == [[13], [13, 79]]
    first = json.loads(sorted((tmp_path / "crashes").glob("*.json"))[0].read_text())
    assert (first["pid"], first["jobs"], first["device"]["uuid"]) == (7, ["job-1"], "GPU-0")


def test_an_xid_of_a_gpu_joins_the_record_of_its_parts(tmp_path: Path) -> None:
    log = CrashLog(tmp_path / "crashes")
    log.keep(death(1000.0, uuid="MIG-1", parent="GPU-0"))

    log.join("GPU-0", 48, 1001.0)

    assert log.newest(1)[0]["xids"] == [13, 48]


def test_a_later_xid_is_another_matter(tmp_path: Path) -> None:
    log = CrashLog(tmp_path / "crashes")
    log.keep(death(1000.0, uuid="GPU-0", parent=None))

    log.join("GPU-0", 79, 1060.0)

    assert log.newest(1)[0]["xids"] == [13]


def test_a_record_has_the_last_lines_of_its_own_process_alone() -> None:
    """Lines of a process that was drained or left behind stood in the record of the next one's crash."""
    words = LastLines()
    words.hear("gpu0", "drained in good order", 10.0)
    words.hear("gpu1", "a neighbour", 21.0)
    words.hear("gpu0", "the model is loaded", 20.0)
    words.hear("gpu0", "CUDA error", 30.0)

    assert words.of(Slot("gpu0", "worker", spawned_at_s=20.0)) == ("the model is loaded", "CUDA error")
    assert words.of(Slot("gpu2", "worker")) == ()


def test_of_a_long_log_line_the_reason_and_the_end_of_the_stack_are_kept() -> None:
    """The line was cut in its middle: no JSON any more, and the exception at its end was lost."""
    words = LastLines()
    stack = "Traceback (most recent call last):\n" + "  File x\n" * 500 + "KeyError: 'region'"
    line = json.dumps({"level": "error", "message": "broker broke", "reason": "why", "error": stack})

    words.hear("broker", line, 20.0)
    words.hear("broker", "x" * 10_000, 21.0)

    kept, plain = words.of(Slot("broker", "broker", spawned_at_s=20.0))
    assert json.loads(kept)["reason"] == "why"
    assert json.loads(kept)["error"].endswith("KeyError: 'region'")
    assert (len(kept) < 1_000, len(plain)) == (True, 500)
