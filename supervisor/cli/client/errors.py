"""How a verb fails: one message for the user and one exit code."""

from __future__ import annotations

from supervisor.contract.exits import Exit


class CommandFailed(Exception):
    """The verb failed. The text says what, where and what to try; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.code = int(code)
