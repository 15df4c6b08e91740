"""What a fresh machine gets: pinned requirements, samples as their list says, REM's names explained."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from supervisor.settings.load import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "supervisor" / "samples"
LOCKS = sorted(ROOT.glob("requirements*.txt"))


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    hashes_count: int


def pins_of(lock: Path) -> list[Pin]:
    """Every requirement of a lock; fails on a line that is not an exact version."""
    entries = re.sub(r"\\\n", "", lock.read_text(encoding="utf-8")).splitlines()
    pins = []
    for entry in entries:
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        exact = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", entry)
        assert exact, f"{lock.name}: not an exact version: {entry[:80]}"
        pins.append(Pin(exact.group(1), exact.group(2), entry.count("--hash=sha256:")))
    return pins


def sample_list() -> list[dict[str, str]]:
    with (SAMPLES / "samples.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_exact_and_hashed(lock: Path) -> None:
    pins = pins_of(lock)

    assert pins
    assert [pin for pin in pins if pin.hashes_count == 0] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_requirement_names_where_it_was_fetched_from(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert re.findall(r"https?:|file:|--(?:extra-)?index-url|--find-links", text) == []


def test_pyav_stays_below_19_which_cannot_decode_with_this_faster_whisper() -> None:
    """faster-whisper 1.2.1 allows av 19, imports and loads a model with it, then fails on each file."""
    versions = [pin.version for pin in pins_of(ROOT / "requirements.txt") if pin.name == "av"]

    assert versions
    assert all(int(version.split(".")[0]) < 19 for version in versions)


def test_locks_agree_on_what_they_share() -> None:
    runtime: dict[str, set[str]] = {}
    for pin in pins_of(ROOT / "requirements.txt"):
        runtime.setdefault(pin.name, set()).add(pin.version)

    strangers = [
        pin
        for pin in pins_of(ROOT / "requirements-dev.txt")
        if pin.name in runtime and pin.version not in runtime[pin.name]
    ]

    assert strangers == []


def test_samples_are_what_their_list_says() -> None:
    listed = sample_list()

    lengths_s = {}
    for row in listed:
        with av.open(str(SAMPLES / row["file"])) as container:
            rate_hz = container.streams.audio[0].rate
            lengths_s[row["file"]] = sum(frame.samples for frame in container.decode(audio=0)) / rate_hz

    assert {row["file"] for row in listed} == {path.name for path in SAMPLES.iterdir()} - {"samples.tsv"}
    # An MP3 encoder fills up its last frames: a tenth of a second.
    for row in listed:
        assert lengths_s[row["file"]] == pytest.approx(float(row["seconds"]), abs=0.15)
        assert row["text"].strip()
    assert max(lengths_s.values()) > 60
    assert len({Path(file).suffix for file in lengths_s}) >= 3


def test_samples_stay_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 800_000


def test_env_example_gives_every_name_of_rem_with_its_meaning() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("#").split("=")[0] for line in lines if re.match(r"#?[A-Z][A-Z_]*=", line)}

    ours = {name for name in ENVIRONMENT if name.startswith("REM_")}
    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

    assert named - ours == (set(ENVIRONMENT) - ours) | credentials
