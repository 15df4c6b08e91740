"""CTranslate2 calls, for a single job or batched for several.

`JobModel` replaces the native model in one job's faster-whisper object: expensive calls become requests to
the job's lane. `Native` makes them: a single request exactly as faster-whisper would, several as one batch.
Encoder output is kept in host memory (2 to 8 MB per window), so that any windows can be batched.

A batched `generate` call needs prompts of equal length with the same timestamp mode and options. Calls that
sample at random are not batched, since the rows would share the random number generator.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

import ctranslate2
import numpy as np

from workerproc.engine.batch import Lane


@dataclass(frozen=True)
class Request:
    """A call as made by faster-whisper, for a single window."""

    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


class Native:
    """Makes the requests of several jobs as one call of the model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def make(self, kind: str, requests: Sequence[Request]) -> list[Any]:
        """Return the answer to each request. Raises what CTranslate2 raises."""
        call = getattr(self._model, kind)
        if len(requests) == 1:
            return [call(*requests[0].arguments, **requests[0].options)]
        windows = _concatenated([request.arguments[0] for request in requests])
        if kind == "encode":
            encoded = np.asarray(call(windows, **requests[0].options))
            return [ctranslate2.StorageView.from_array(np.ascontiguousarray(row[None])) for row in encoded]
        prompts = [request.arguments[1][0] for request in requests]
        return [[answer] for answer in call(windows, prompts, **requests[0].options)]


def _concatenated(windows: Sequence[Any]) -> Any:
    rows = np.concatenate([np.asarray(window) for window in windows])
    return ctranslate2.StorageView.from_array(rows)


def tokens_in(answers: Sequence[Any]) -> int:
    """Count the tokens in the answers of a generate call, on which most of its time depends."""
    return sum(len(answer[0].sequences_ids[0]) + 1 for answer in answers)


class JobModel:
    """The native model, as one job's faster-whisper object uses it."""

    def __init__(
        self,
        model: Any,
        lane: Lane,
        step: Callable[[], None],
        no_timestamps: Optional[int],
        is_alone: bool,
        is_on_host: bool,
    ) -> None:
        """`step` is called after each call; an exception from it ends the job.

        `is_alone`: never batch. `is_on_host`: keep encoder output in host memory, where arrays can be joined.
        """
        self._model = model
        self._lane = lane
        self._step = step
        self._no_timestamps = no_timestamps
        self._is_alone = is_alone
        self._is_on_host = is_on_host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        options = {"to_cpu": to_cpu or self._is_on_host}
        return self._call("encode", tuple(features.shape), (features,), options)

    def detect_language(self, encoded: Any) -> Any:
        return self._call("detect_language", None, (encoded,), {})

    def generate(self, encoded: Any, prompts: Any, **options: Any) -> Any:
        key: Optional[Hashable] = None
        if not options.get("sampling_temperature"):
            shape = (tuple(encoded.shape), len(prompts[0]), self._no_timestamps in prompts[0])
            key = (*shape, tuple(sorted((name, _frozen(value)) for name, value in options.items())))
        return self._call("generate", key, (encoded, prompts), options)

    def align(self, *arguments: Any, **options: Any) -> Any:
        return self._call("align", None, arguments, options)

    def _call(self, kind: str, key: Optional[Hashable], arguments: tuple[Any, ...], options: Any) -> Any:
        answer = self._lane.call(kind, None if self._is_alone else key, Request(arguments, options))
        self._step()
        return answer


def _frozen(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
