"""A window of speech that gives almost no text is noticed; a window's prompt is no longer than it may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.contract.job_options import Options
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.engine.whisper.window_marks import Marking
from workerproc.jobs import job


class Base:
    """Stands in for faster-whisper's model: it gives so many tokens, and notes what it is prompted with."""

    max_length = 448

    def __init__(self, tokens: int = 0) -> None:
        self.tokens = tokens
        self.prompted: list[int] = []

    def generate_with_fallback(self, *arguments: Any) -> Any:
        return (SimpleNamespace(sequences_ids=[[1] * self.tokens]), 0.0, 0.0, 1.0)

    def get_prompt(self, tokenizer: Any, previous_tokens: list[int], **rest: Any) -> list[int]:
        self.prompted = previous_tokens
        return previous_tokens


class Model(Marking, Base):
    mark = ResumePoint()
    seek = 300
    last_speech_s = 0.0

    @staticmethod
    def at_mark() -> None:
        return None


@pytest.mark.parametrize(
    ("window_s", "tokens", "sparse_s"),
    [(30.0, 24, 30.0), (30.0, 36, 0.0), (30.0, 111, 0.0), (9.9, 1, 0.0), (12.0, 3, 12.0), (30.0, 0, 30.0)],
)
def test_window_with_few_tokens_a_second_is_counted(window_s: float, tokens: int, sparse_s: float) -> None:
    model = Model(tokens)
    model.audio_frames = round(window_s * 100)

    model.generate_with_fallback("encoded", [], None, None)

    assert model.sparse_s == sparse_s


@pytest.mark.parametrize(("most", "kept"), [(223, 223), (100, 100), (0, 0), (1, 1)])
def test_earlier_text_is_cut_to_what_hotwords_leave_and_the_mark_keeps_all_of_it(
    most: int, kept: int
) -> None:
    model = Model()
    model.history_most = most
    history = list(range(300))

    model.get_prompt(None, history, hotwords="x")

    assert model.prompted == history[len(history) - kept :]
    assert model.mark.tokens == tuple(history[-223:])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(hotwords="a"), ["60 s of speech gave almost no text: try without hotwords"]),
        (
            Options(hotwords="a", initial_prompt="b"),
            ["60 s of speech gave almost no text: try without initial_prompt and hotwords"],
        ),
        (Options(), []),
        (Options(hotwords="a", vad_filter=False), []),
    ],
)
def test_lost_text_is_told_where_a_text_of_ones_own_may_be_the_cause(
    options: Options, told: list[str]
) -> None:
    assert list(job._sparse_text_warnings(options, 60.0)) == told
    assert list(job._sparse_text_warnings(options, 0.0)) == []
