"""How much of a model's room the texts before a window take, in tokens. PURE.

Whisper reads and writes `max_length` tokens a window: hotwords, then the text before it (at first the
initial prompt), then up to four tokens of its own, then the window's text. faster-whisper cuts hotwords
and earlier text to 223 tokens each, which together leave nothing for the window: its text vanishes. So
hotwords and the initial prompt must leave `ROOM_LEAST`, and the text before a window gives way to hotwords.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable, Optional

from supervisor.contract.job_options import Options

# A window of half a minute has some 120 tokens, a fast speaker's 170. Whisper itself writes 224 at most.
ROOM_LEAST = 200
_OWN_TOKENS = 4  # before earlier text, and: begin, language, task


@dataclass(frozen=True)
class Prompts:
    """What a job's texts take of a model's room."""

    initial_prompt: int  # tokens given
    hotwords: int
    max_length: int  # of the model: tokens before and in a window
    is_conditioned: bool

    @property
    def kept(self) -> int:
        """How many tokens faster-whisper keeps of each text."""
        return self.max_length // 2 - 1

    @property
    def room(self) -> int:
        """How many tokens may stand before a window, so that it has room enough itself."""
        return self.max_length - ROOM_LEAST - _OWN_TOKENS

    @property
    def history(self) -> int:
        """How many tokens of the text before a window it may be prompted with."""
        return max(0, min(self.kept, self.room - min(self.hotwords, self.kept)))

    def problem(self) -> Optional[str]:
        """Name the option that takes too much; None where there is room."""
        if self.hotwords > self.kept:
            return f"hotwords: {self.hotwords} tokens, must be at most {self.kept}"
        together = min(self.initial_prompt, self.kept) + self.hotwords
        if self.hotwords and together > self.room:
            return (
                f"initial_prompt: {self.initial_prompt} tokens and hotwords {self.hotwords}: "
                f"the model has room for {self.room} of both together"
            )
        return None

    def warnings(self) -> Iterator[str]:
        """Say what of the texts is not used."""
        if self.initial_prompt > self.kept:
            yield f"initial_prompt: {self.initial_prompt} tokens given, the last {self.kept} used"
        if self.is_conditioned and self.history < self.kept:
            yield (
                f"hotwords: {self.hotwords} tokens leave {self.history} instead of {self.kept} for the text "
                "before each window"
            )


def measured(options: Options, tokens_in: Callable[[str], int], max_length: int) -> Prompts:
    """Count the tokens of a job's texts as faster-whisper does: each after a blank, without blanks around."""

    def count(text: str) -> int:
        return tokens_in(f" {text.strip()}") if text else 0

    is_conditioned = options.condition_on_previous_text
    return Prompts(count(options.initial_prompt), count(options.hotwords), max_length, is_conditioned)
