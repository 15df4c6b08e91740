"""The OOM killer is known by a counter of our cgroup, in either version of cgroups."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest

from supervisor.processes.oom_kills import OomEvidence


def _evidence(tmp_path: Path, membership: str, counter: Optional[str]) -> tuple[OomEvidence, Path]:
    """Lay out a made-up cgroup file system whose only counter is the named file."""
    (tmp_path / "membership").write_text(membership)
    file = tmp_path / "cgroup" / (counter or "cpu.max")
    file.parent.mkdir(parents=True)
    file.write_text("low 0\noom 3\noom_kill 5\n")
    return OomEvidence(tmp_path / "membership", tmp_path / "cgroup"), file


@pytest.mark.parametrize(
    ("membership", "counter"),
    [
        ("0::/slice/job\n", "slice/job/memory.events"),
        ("7:cpu:/job\n5:memory:/job\n0::/\n", "memory/job/memory.oom_control"),
        ("0::/kubepods/pod1/abc\n", "memory.events"),  # in a container our own group is the root
        ("5:memory:/kubepods/abc\n", "memory/memory.oom_control"),
        ("0::/user.slice/app.scope\n", "user.slice/memory.events"),  # its own group accounts no memory
    ],
)
def test_each_rise_of_the_counter_is_told_once(tmp_path: Path, membership: str, counter: str) -> None:
    evidence, file = _evidence(tmp_path, membership, counter)

    before = evidence.rose()
    file.write_text("low 0\noom 4\noom_kill 6\n")

    assert (before, evidence.rose(), evidence.rose()) == (False, True, False)


def test_a_kill_in_another_group_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "cgroup").mkdir()
    above = tmp_path / "cgroup" / "memory.events"
    above.write_text("oom_kill 1\n")
    evidence, _ = _evidence(tmp_path, "0::/job\n", "job/memory.events")

    above.write_text("oom_kill 2\n")

    assert evidence.rose() is False


@pytest.mark.parametrize("membership", ["0::/job\n", "", "no colons\n"])
def test_without_a_counter_the_answer_is_unknown(tmp_path: Path, membership: str) -> None:
    evidence, _ = _evidence(tmp_path, membership, None)

    assert evidence.rose() is None


def test_a_counter_without_its_line_is_unknown(tmp_path: Path) -> None:
    evidence, file = _evidence(tmp_path, "0::/\n", "memory.events")

    file.write_text("max 1\n")

    assert evidence.rose() is None
