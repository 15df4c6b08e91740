"""Cores and memory are what limits leave of them, in either version of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from supervisor.placement.host import read_host

GIB = 1024**3


class Cgroups:
    """A made-up cgroup file system and this process's place in it."""

    def __init__(self, path: Path) -> None:
        self.mount, self.membership = path / "cgroup", path / "membership"
        self.meminfo = path / "meminfo"
        self.meminfo.write_text(f"MemTotal:  99 kB\nMemAvailable:   {512 * GIB // 1024} kB\n")
        self.mount.mkdir()

    def put(self, folder: str, **files: object) -> None:
        place = self.mount / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (place / name.replace("__", ".")).write_text(f"{value}\n")

    def read(self, membership: str) -> tuple[int, int]:
        self.membership.write_text(membership)
        host = read_host(self.membership, self.mount, self.meminfo)
        return host.cores, host.free_memory_bytes


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroups:
    """A machine with 8 cores and a lot of free memory, as far as anybody can see."""
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinity and no cgroups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    return Cgroups(tmp_path)


def test_without_limits_the_whole_machine_is_ours(cgroups: Cgroups) -> None:
    cgroups.put("", cpu__max="max 100000", memory__max="max", memory__current=5)

    assert cgroups.read("0::/\n") == (8, 512 * GIB)


def test_version_2_limits_are_kept(cgroups: Cgroups) -> None:
    cgroups.put(
        "job", cpu__max="250000 100000", memory__max=4 * GIB, memory__current=3 * GIB,
        memory__stat=f"anon 7\ninactive_file {GIB}\n",
    )  # fmt: skip

    assert cgroups.read("0::/job\n") == (2, 2 * GIB)


def test_version_1_limits_are_kept(cgroups: Cgroups) -> None:
    cgroups.put("cpu/job", cpu__cfs_quota_us=300_000, cpu__cfs_period_us=100_000)
    cgroups.put(
        "memory/job", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=GIB,
        memory__stat="inactive_file 1\ntotal_inactive_file 4096\n",
    )  # fmt: skip

    membership = "9:name=systemd:/job\n4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n"
    assert cgroups.read(membership) == (3, 3 * GIB + 4096)


def test_version_1_without_a_limit_says_so_with_a_huge_number(cgroups: Cgroups) -> None:
    cgroups.put("memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=GIB)
    cgroups.put("cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100_000)

    assert cgroups.read("4:memory:/\n1:cpu:/\n") == (8, 512 * GIB)


def test_the_narrowest_limit_on_the_way_up_counts(cgroups: Cgroups) -> None:
    cgroups.put("slice", cpu__max="100000 100000", memory__max=2 * GIB, memory__current=0)
    cgroups.put("slice/job", cpu__max="400000 100000", memory__max=8 * GIB, memory__current=0)

    assert cgroups.read("0::/slice/job\n") == (1, 2 * GIB)


def test_in_a_container_our_own_group_is_the_root(cgroups: Cgroups) -> None:
    """The path is the host's and does not exist in here."""
    cgroups.put("", cpu__max="200000 100000", memory__max=GIB, memory__current=0)

    assert cgroups.read("0::/kubepods/pod1/abc\n") == (2, GIB)


def test_half_a_core_is_still_one_slots_worth(cgroups: Cgroups) -> None:
    cgroups.put("", cpu__max="50000 100000")

    assert cgroups.read("0::/\n")[0] == 1


def test_a_group_over_its_limit_has_nothing_left(cgroups: Cgroups) -> None:
    cgroups.put("", memory__max=GIB, memory__current=2 * GIB)

    assert cgroups.read("0::/\n")[1] == 0


@pytest.mark.parametrize("nonsense", ["", "x", "1 0", "max", "-5 100000", "1 2 3"])
def test_files_that_make_no_sense_limit_nothing(cgroups: Cgroups, nonsense: str) -> None:
    cgroups.put("", cpu__max=nonsense, memory__max=nonsense, memory__current=nonsense, memory__stat=nonsense)

    assert cgroups.read("0::/\nno colons\n::\n") == (8, 512 * GIB)


def test_affinity_limits_cores(cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})

    assert cgroups.read("0::/\n")[0] == 1


def test_a_machine_without_cgroups_or_proc_is_read_all_the_same(tmp_path: Path) -> None:
    absent = tmp_path / "absent"

    host = read_host(absent, absent, absent)

    assert host.cores >= 1
    assert 0 < host.free_memory_bytes <= psutil.virtual_memory().total


def test_this_machine_is_read() -> None:
    host = read_host()

    assert 1 <= host.cores <= (os.cpu_count() or 1)
    assert 0 < host.free_memory_bytes <= psutil.virtual_memory().total
