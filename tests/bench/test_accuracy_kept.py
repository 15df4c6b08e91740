"""Answers are kept for the same recording, program and model alone; a sample grows and never changes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from supervisor.contract import job_options

BENCH = str(Path(__file__).resolve().parents[2] / "bench")
FAST = job_options.of_profile("fast")


@pytest.fixture(scope="module")
def kept() -> ModuleType:
    return _module("accuracy_kept")


def _module(name: str) -> ModuleType:
    sys.path.insert(0, BENCH)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(BENCH)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


def recording(folder: Path, samples: str) -> list[Any]:
    path = folder / "recording.wav"
    path.write_text(samples)
    return [str(path), None, True]


def test_answer_that_was_kept_is_known_in_the_next_run(kept: ModuleType, model: Path) -> None:
    file, table = model / "kept.jsonl", {"plain": None, "fast": FAST}
    kept.Kept(file, model, table).keep(recording(model, "a"), {"fast": {"text": "good day"}})

    known = kept.Kept(file, model, table)

    assert known.known(recording(model, "a")) == {"fast": {"text": "good day"}}
    assert known.known(recording(model, "other samples")) == {}
    assert known.known([*recording(model, "a")[:2], False]) == {}


def test_program_with_other_options_hears_for_itself(kept: ModuleType, model: Path) -> None:
    file = model / "kept.jsonl"
    kept.Kept(file, model, {"fast": FAST}).keep(recording(model, "a"), {"fast": {"text": "good day"}})

    other = kept.Kept(file, model, {"fast": job_options.changed(FAST, '{"beam_size": 1}')})

    assert other.known(recording(model, "a")) == {}


def test_other_model_hears_for_itself(kept: ModuleType, model: Path) -> None:
    file = model / "kept.jsonl"
    kept.Kept(file, model, {"plain": None}).keep(recording(model, "a"), {"plain": {"text": "good day"}})
    (model / "config.json").write_text("another")

    assert kept.Kept(file, model, {"plain": None}).known(recording(model, "a")) == {}


def test_nothing_is_kept_without_a_file(kept: ModuleType, model: Path) -> None:
    none = kept.Kept(None, model, {"plain": None})
    none.keep(recording(model, "a"), {"plain": {"text": "good day"}})

    assert none.known(recording(model, "a")) == {}


def test_larger_sample_holds_the_smaller_one_and_each_source() -> None:
    corpus = _module("accuracy_corpus")
    many = [
        corpus.Recording(str(n), "", 1.0, source, "en")
        for source, count in (("board", 50), ("novel", 3))
        for n in range(count)
    ]

    tenth, half = corpus.sample(many, 0.1, seed=1), corpus.sample(many, 0.5, seed=1)

    assert len(tenth) == 6
    assert {one.source for one in tenth} == {"board", "novel"}
    assert set(tenth) < set(half)
    assert corpus.sample(many, 0.1, seed=1) == tenth
    assert corpus.sample(many, 0.1, seed=2) != tenth
