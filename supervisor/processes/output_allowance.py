"""Rate limit of a child's output, as a token bucket. PURE."""

from __future__ import annotations

# A broker prints a line for each job, some hundred a second at most. Guesses, ten times what is needed.
LINES_PER_S, LINES_AT_ONCE = 1_000.0, 1_000.0
BYTES_PER_S, BYTES_AT_ONCE = 512 * 1024.0, 1024 * 1024.0


class OutputAllowance:
    """The output that a child may still print; it refills with time, up to a limit."""

    def __init__(self) -> None:
        self._lines, self._bytes = LINES_AT_ONCE, BYTES_AT_ONCE
        self._at_s = 0.0

    def take(self, size_bytes: int, now_s: float) -> bool:
        """Take a line of this size; False if the allowance is used up."""
        passed_s, self._at_s = max(0.0, now_s - self._at_s), now_s
        self._lines = min(LINES_AT_ONCE, self._lines + passed_s * LINES_PER_S)
        self._bytes = min(BYTES_AT_ONCE, self._bytes + passed_s * BYTES_PER_S)
        if self._lines < 1.0 or self._bytes < size_bytes:
            return False
        self._lines -= 1.0
        self._bytes -= size_bytes
        return True
