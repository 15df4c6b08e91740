"""What follows when the supervisor itself did not run for a while: nothing, for anybody. PURE.

Children were not heard, so their silence proves nothing: each gets its time to speak anew, and every
other budget is longer by what was lost. Deadlines of drains and stops stay, for the machine goes when it
goes; but what was said meanwhile is read before anybody is killed for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import slot as sl

if TYPE_CHECKING:
    from supervisor.pool import Pool


def pass_over(pool: Pool, lost_s: float, now_s: float) -> None:
    """Let the last `lost_s` seconds count for nobody."""
    names = [member.slot.name for member in pool.members.values() if member.slot.state in sl.ALIVE]
    facts = {"lost_s": round(lost_s, 1), "slots": ", ".join(names)}
    pool.note("warning", "the supervisor was paused: no child is judged by that time", facts)
    for member in pool.members.values():
        pool.decide(member, sl.Unheard(lost_s), now_s)
    pool.ledger.pass_over(lost_s)
    pool.care.pass_over(lost_s)
    pool.ending.pass_over(lost_s, now_s)
