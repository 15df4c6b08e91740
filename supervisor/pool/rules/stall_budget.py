"""How long a worker may make no progress, by phase. PURE.

A worker has three budgets: silence (no message at all, `silence_s`), loading (from its start until it is
ready, `start_s`), and the stall budget, calculated here: it sends heartbeats but makes no progress. A
worker with several jobs gets the longest of their stall budgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from supervisor.contract.wire import messages as m
from supervisor.pool.state.slot_types import Policy

# Steps that process a whole recording at once (voice detection, say) take longer for a longer one.
# A guess: on one busy core they run about fifty times faster than real time; five times that.
AUDIO_RATIO: Mapping[str, float] = {
    "decoding": 0.1,
    "listening": 0.1,
    "transcribing": 0.1,
    "writing": 0.0,
}


def stall_budget_of(jobs: Iterable[m.Progress], policy: Policy) -> tuple[float, str]:
    """Return the stall budget of a worker with these jobs, and the phase that determines it."""
    budgets = [(_stall_budget_s(job, policy), job.phase) for job in jobs]
    return max(budgets, default=(policy.stall_s, ""))


def _stall_budget_s(job: m.Progress, policy: Policy) -> float:
    least_s = {
        "decoding": policy.stall_decoding_s,
        "listening": policy.stall_decoding_s,
        "writing": policy.stall_writing_s,
    }
    left_s = max(0.0, job.audio_s - job.done_s)
    return max(least_s.get(job.phase, policy.stall_s), AUDIO_RATIO.get(job.phase, 0.0) * left_s)
