"""Token budget of a window's prompt: hotwords, initial prompt, previous text. PURE.

Whisper has `max_length` tokens per window: hotwords, previous text (at first the initial prompt), up to four
special tokens, and the window's own text. faster-whisper truncates hotwords and previous text to 223 tokens
each, which together leave no room for the window's text: it is lost. So hotwords and initial prompt must
leave `ROOM_LEAST` tokens, and previous text is shortened to make room for hotwords.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable, Optional

from supervisor.contract.job_options import Options

# A window of 30 s has about 120 tokens, 170 of a fast speaker. Whisper itself generates at most 224.
ROOM_LEAST = 200
_OWN_TOKENS = 4  # start of previous text, start of transcript, language, task


@dataclass(frozen=True)
class Prompts:
    """The token counts of a job's prompt texts."""

    initial_prompt: int  # tokens given
    hotwords: int
    max_length: int  # of the model: prompt and text of a window
    is_conditioned: bool

    @property
    def kept(self) -> int:
        """How many tokens of each text faster-whisper keeps."""
        return self.max_length // 2 - 1

    @property
    def room(self) -> int:
        """How many tokens the prompt may have, so that enough remain for the window's text."""
        return self.max_length - ROOM_LEAST - _OWN_TOKENS

    @property
    def history(self) -> int:
        """How many tokens of previous text the prompt may have."""
        return max(0, min(self.kept, self.room - min(self.hotwords, self.kept)))

    def problem(self) -> Optional[str]:
        """Name the option that has too many tokens; None where all fit."""
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
        """Yield a warning for each text that is not fully used."""
        if self.initial_prompt > self.kept:
            yield f"initial_prompt: {self.initial_prompt} tokens given, the last {self.kept} used"
        if self.is_conditioned and self.history < self.kept:
            yield (
                f"hotwords: {self.hotwords} tokens leave {self.history} instead of {self.kept} for the text "
                "before each window"
            )


def measured(options: Options, tokens_in: Callable[[str], int], max_length: int) -> Prompts:
    """Count the tokens of a job's texts as faster-whisper does: stripped, with one leading blank."""

    def count(text: str) -> int:
        return tokens_in(f" {text.strip()}") if text else 0

    is_conditioned = options.condition_on_previous_text
    return Prompts(count(options.initial_prompt), count(options.hotwords), max_length, is_conditioned)
