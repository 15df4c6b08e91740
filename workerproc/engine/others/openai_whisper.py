"""Runs openai-whisper, the authors' own program on PyTorch; the only file that imports either.

Each window goes through `whisper.transcribe`, with its own fallback from temperature to temperature and its
own word timestamps. It computes in float16 on a GPU and in float32 on a CPU, as `whisper` itself does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

import torch
import whisper
import whisper.tokenizer

from supervisor.contract.job_options import Options
from workerproc.audio.pcm_file import Samples
from workerproc.engine.others.windowed import WindowedEngine, WindowRequest, WindowText
from workerproc.process import errors
from workerproc.transcripts.transcript import Segment, Word

_ENGLISH = ("en",)
# After a window that needed a higher temperature, the next one starts without earlier text, as in `whisper`.
_TEMPERATURE_MOST = 0.5


class OpenaiWhisper(WindowedEngine):
    """A checkpoint of openai-whisper."""

    name = "openai-whisper"
    libraries = ("openai-whisper", "torch")

    def __init__(
        self, model_path: str, device: str, compute_type: str, threads: int, step: Callable[[], None]
    ) -> None:
        """Load a checkpoint file. `compute_type` is not used. Raises as `port.Engine` says."""
        super().__init__(step)
        torch.set_num_threads(threads)
        try:
            self._model: Any = whisper.load_model(model_path, device=device)
        except Exception as error:
            raise errors.at_start(error, f"{model_path} on {device}") from error
        self.compute_type = "fp16" if device == "cuda" else "fp32"  # openai-whisper's own words

    @property
    def languages(self) -> Sequence[str]:
        if not self._model.is_multilingual:
            return _ENGLISH
        return tuple(whisper.tokenizer.LANGUAGES)[: self._model.num_languages]

    def language_of(self, samples: Samples) -> str:
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), self._model.dims.n_mels)
        dtype = torch.float16 if self.compute_type == "fp16" else torch.float32
        _, probabilities = self._model.detect_language(mel.to(self._model.device, dtype))
        return str(max(probabilities, key=probabilities.get))

    def hear(self, request: WindowRequest) -> WindowText:
        options = request.options
        tokenizer = self._tokenizer(request)
        before = self._tokens_before(request, tokenizer)
        torch.manual_seed(0)  # for temperatures above 0: a resumed job draws the same words
        found = whisper.transcribe(
            self._model,
            request.samples,
            language=request.language,
            task=options.task,
            beam_size=options.beam_size if options.beam_size > 1 else None,
            temperature=options.temperature,
            condition_on_previous_text=options.condition_on_previous_text,
            initial_prompt=tokenizer.decode(before) if before else None,
            word_timestamps=options.word_timestamps,
            fp16=self.compute_type == "fp16",
        )
        segments = [_segment_from(one) for one in found["segments"] if one["text"].strip()]
        return WindowText(segments, self._tokens_after(options, tokenizer, before, found["segments"]))

    def _tokenizer(self, request: WindowRequest) -> Any:
        return whisper.tokenizer.get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=request.language,
            task=request.options.task,
        )

    def _tokens_before(self, request: WindowRequest, tokenizer: Any) -> tuple[int, ...]:
        """Return the prompt: the text before, or the initial prompt in a first window."""
        prompt = request.options.initial_prompt.strip()
        if request.is_first and prompt:
            return tuple(tokenizer.encode(f" {prompt}"))
        return request.tokens

    def _tokens_after(
        self,
        options: Options,
        tokenizer: Any,
        before: Sequence[int],
        segments: Sequence[Mapping[str, Any]],
    ) -> tuple[int, ...]:
        """Return the text that conditions the next window; empty where none is to."""
        if not options.condition_on_previous_text:
            return ()
        if segments and segments[-1]["temperature"] > _TEMPERATURE_MOST:
            return ()
        most = self._model.dims.n_text_ctx // 2 - 1
        text = [token for one in segments for token in one["tokens"] if token < tokenizer.eot]
        return (*before, *text)[-most:]


def _segment_from(found: Mapping[str, Any]) -> Segment:
    words = found.get("words", ())
    return Segment(
        0,  # numbered by the caller
        float(found["start"]),
        float(found["end"]),
        found["text"],
        float(found["avg_logprob"]),
        float(found["no_speech_prob"]),
        float(found["compression_ratio"]),
        float(found["temperature"]),
        tuple(
            Word(float(one["start"]), float(one["end"]), one["word"], float(one["probability"]))
            for one in words
        ),
    )
