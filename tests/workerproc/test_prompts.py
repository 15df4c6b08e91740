"""Texts before a window leave room for the window's own text, whatever options ask for.

`initial_prompt` and `hotwords`, each legal, took all 448 tokens together: the transcript was empty, or lost
a quarter of its words, and nothing said so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from supervisor.contract.job_options import Options, of_profile
from tests.workerproc import recordings
from tests.workerproc.test_engine import heard, plain
from workerproc.engine.whisper import features, prompts
from workerproc.engine.whisper.prompts import ROOM_LEAST, Prompts
from workerproc.engine.whisper.recogniser import Recogniser

REM, FAST = of_profile("rem"), of_profile("fast")
NAMES = "Kubernetes, Zürich, Grüezi, Kowalczyk, Nguyễn, "


def counted(initial: int, hotwords: int, conditioned: bool = False) -> Prompts:
    return Prompts(initial, hotwords, 448, conditioned)


@pytest.mark.parametrize("hotwords", [0, 1, 21, 22, 100, 223])
@pytest.mark.parametrize("initial", [0, 10, 223, 900])
def test_what_is_not_refused_leaves_every_window_its_room(initial: int, hotwords: int) -> None:
    one = counted(initial, hotwords, conditioned=True)

    if one.problem() is None:
        first = hotwords + min(initial, one.kept, one.history)
        later = hotwords + one.history
        assert 448 - 4 - max(first, later) >= ROOM_LEAST
        assert min(initial, one.kept) <= one.history, "the initial prompt is not cut any further"


@pytest.mark.parametrize(
    ("initial", "hotwords", "named"),
    [
        (0, 223, ""),
        (900, 0, ""),
        (0, 224, "hotwords"),
        (100, 144, ""),
        (100, 145, "initial_prompt"),
        (900, 22, "initial"),
    ],
)
def test_option_that_takes_too_much_is_named(initial: int, hotwords: int, named: str) -> None:
    problem = counted(initial, hotwords).problem()

    assert (problem or "").startswith(named)
    assert bool(problem) == bool(named)


def test_texts_that_are_short_take_nothing_from_each_other() -> None:
    """With 21 tokens of hotwords or less a window is prompted with as much as faster-whisper takes."""
    assert (counted(0, 0, True).history, counted(0, 21, True).history) == (223, 223)
    assert list(counted(50, 21, True).warnings()) == []
    assert list(counted(50, 100, False).warnings()) == []


def test_what_is_cut_is_told_with_tokens_given_and_used() -> None:
    assert list(counted(377, 0).warnings()) == ["initial_prompt: 377 tokens given, the last 223 used"]
    assert list(counted(0, 100, True).warnings()) == [
        "hotwords: 100 tokens leave 144 instead of 223 for the text before each window"
    ]


def test_tokens_are_counted_of_the_text_as_faster_whisper_writes_it() -> None:
    seen: list[str] = []

    prompts.measured(
        Options(initial_prompt="  Dear all, \n", hotwords=""), lambda text: seen.append(text) or 3, 448
    )

    assert seen == [" Dear all,"]


@pytest.fixture(scope="module")
def speech() -> Any:
    joined = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    return np.tile(joined, 3)[: 110 * recordings.RATE_HZ]


def prompt_lengths(recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how long the prompt of each generation is."""
    lengths: list[int] = []
    make = recogniser.native.make

    def noted(kind: str, requests: Any) -> Any:
        if kind == "generate":
            lengths.extend(len(request.arguments[1][0]) for request in requests)
        return make(kind, requests)

    monkeypatch.setattr(recogniser.native, "make", noted)
    return lengths


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options",
    [
        replace(REM, hotwords=NAMES * 8),
        replace(REM, hotwords=NAMES * 3, initial_prompt="The lighthouse. " * 20),
        replace(REM, initial_prompt=NAMES * 20),
        replace(FAST, hotwords="灯台守は嵐の夜に" * 8, word_timestamps=True),
    ],
    ids=["hotwords and history", "prompt, hotwords and history", "long prompt", "another script"],
)
def test_every_window_has_room_for_its_text(
    recogniser: Recogniser, speech: Any, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    lengths = prompt_lengths(recogniser, monkeypatch)
    assert recogniser.unfit(options) is None

    # The prompt has the same length at every temperature: the first one is enough.
    heard(recogniser, speech, replace(options, temperature=(0.0,)))

    assert len(lengths) > 2
    assert max(lengths) <= 448 - ROOM_LEAST


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_short_hotwords_and_prompt_with_conditioning_give_the_text_of_a_plain_call(
    direct: Any, recogniser: Recogniser, speech: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_BLOCK", 100_000)  # some BLAS give other last bits to other widths
    options = replace(REM, hotwords="lantern, harbour", initial_prompt="The keeper of the lighthouse.")

    whole, _ = heard(recogniser, speech, options)

    assert whole == plain(direct, speech, options)
    assert list(recogniser.prompts(options).warnings()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (replace(FAST, hotwords=NAMES * 12), "hotwords: "),
        (replace(FAST, hotwords=NAMES * 6, initial_prompt=NAMES * 8), "initial_prompt: "),
        (replace(FAST, hotwords="मुझे हिंदी में बात करना पसंद है " * 6), "hotwords: "),
        (replace(FAST, language="de"), "language: the model supports English only, not de"),
        (replace(FAST, task="translate"), "task: the model supports English only"),
    ],
)
def test_options_that_a_model_can_not_follow_are_named(
    recogniser: Recogniser, options: Options, named: str
) -> None:
    assert (recogniser.unfit(options) or "").startswith(named)
