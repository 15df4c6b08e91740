"""The engines that a worker can run: what each needs, and which options it follows. PURE.

Settings and workers ask here, so that an option that an engine lacks is refused by name before work starts.
What depends on the model (its languages, its tokens) only the loaded engine can say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from supervisor.contract.job_options import Options

DEFAULT = "faster-whisper"
_SAME = 1e-6  # between two numbers that were written in decimals


@dataclass(frozen=True)
class EngineFacts:
    """What an engine needs and can do. Flags name the options that it follows."""

    distribution: str  # that must be installed
    model: str = ""  # what `model` must name: a path on this host. Empty: faster-whisper's names
    is_folder: bool = False  # of that path
    on_gpu: bool = False
    batches: bool = False  # several recordings in one call
    fit_windows: bool = False
    needs_vad: bool = True  # its windows end at pauses
    no_beams: str = ""  # why beam_size must be 1
    temperatures: bool = True
    any_temperatures: bool = True  # False: up to 1 by equal steps
    translates: bool = True
    words: bool = True  # their times
    hotwords: bool = False
    prompts: bool = True  # initial_prompt and text before a window

    @property
    def extra(self) -> str:
        """The package's extra with the engine's libraries; empty: they are always installed."""
        return self.distribution if self.model else ""


ENGINES: Mapping[str, EngineFacts] = {
    DEFAULT: EngineFacts(
        "faster-whisper",
        on_gpu=True,
        batches=True,
        fit_windows=True,
        needs_vad=False,
        hotwords=True,
    ),
    "openai-whisper": EngineFacts(
        "openai-whisper", model="a checkpoint file (.pt) of openai-whisper", on_gpu=True
    ),
    "whisper.cpp": EngineFacts(
        "pywhispercpp",
        model="a ggml file (.bin) of whisper.cpp",
        no_beams="draws its beams at random, so that a resumed job would have another text",
        any_temperatures=False,
        words=False,
    ),
}
NAMES = tuple(ENGINES)


def lacking(engine: str, options: Options) -> Iterator[tuple[str, str]]:
    """Yield each option that the engine does not follow: its name, and what to set instead."""
    can = ENGINES[engine]
    if options.window == "fit" and not can.fit_windows:
        yield "window", f"engine {engine} computes whole windows. Set auto or full"
    if not options.vad_filter and can.needs_vad:
        yield (
            "vad_filter",
            f"windows of engine {engine} end at pauses, which it detects. Set true",
        )
    if options.beam_size > 1 and can.no_beams:
        yield "beam_size", f"engine {engine} {can.no_beams}. Set 1"
    if options.temperature != (0.0,) and not can.temperatures:
        yield "temperature", f"engine {engine} has no temperatures. Set [0.0]"
    elif not (can.any_temperatures or _is_stairs(options.temperature)):
        what = f"engine {engine} raises it to 1 by equal steps"
        yield "temperature", f"{what}. Set one number, or for instance [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]"
    if options.task == "translate" and not can.translates:
        yield "task", f"engine {engine} does not translate. Set transcribe"
    if options.word_timestamps and not can.words:
        yield "word_timestamps", f"engine {engine} gives no times of words. Set false"
    if options.hotwords and not can.hotwords:
        instead = ". Remove them, or write them into initial_prompt" if can.prompts else ". Remove them"
        yield "hotwords", f"engine {engine} has no hotwords{instead}"
    if options.initial_prompt and not can.prompts:
        yield "initial_prompt", f"engine {engine} takes no prompt. Remove it"
    if options.condition_on_previous_text and not can.prompts:
        yield "condition_on_previous_text", f"engine {engine} takes no earlier text. Set off"


def _is_stairs(ladder: Sequence[float]) -> bool:
    """Say whether the numbers rise by equal steps until the next one would be above 1, or are one number."""
    if len(ladder) == 1:
        return True
    step = ladder[1] - ladder[0]
    is_even = all(abs(later - one - step) < _SAME for one, later in zip(ladder, ladder[1:]))
    return step > _SAME and is_even and ladder[-1] <= 1.0 + _SAME < ladder[-1] + step
