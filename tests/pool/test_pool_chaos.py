"""Anything dies at any time, people give orders meanwhile: in the end every job ended, and once.

The puppets of `puppets.py` fail at once when a slot gets a second process, a job a second
worker, a suspect company or the broker a commit of nothing.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from tests.pool.simulated_host import Host

JOBS = tuple("abcdefgh")
NAMES = st.sampled_from(["w0", "w1", "w2", "broker", "gpuwatch"])
CODES = st.sampled_from([-9, -11, 0, 1, int(Exit.RECYCLE), int(Exit.PROTOCOL)])
DEATH = st.tuples(st.just("die"), NAMES, CODES)
SILENCE = st.tuples(st.just("fall silent"), NAMES, st.just(0))
BREAK = st.tuples(st.just("break"), NAMES, st.just(0))
ORDER = st.tuples(st.sampled_from(["drain", "drain one", "restart", "resume", "lose"]), NAMES, st.just(0))
BLOWS = st.lists(
    st.tuples(st.one_of(DEATH, DEATH, SILENCE, BREAK, ORDER), st.floats(0, 20)), min_size=1, max_size=12
)


def strike(host: Host, what: str, name: str, code: int) -> None:
    """Let one bad thing happen, or one order be given."""
    alive = host.processes.get(name)
    if what == "die" and alive is not None:
        alive.end(code)
    elif what == "fall silent" and alive is not None and name.startswith("w"):
        host.worker(name).silent = True
    elif what == "break":
        host.post(ev.SlotEvent(name, sl.Kill("it sent what is no message", fault=True)))
    elif what == "drain":
        host.drain(within_s=15)
    elif what in ("drain one", "restart") and name.startswith("w"):
        host.drain(name, within_s=15, next_=sl.Next.REST if what == "drain one" else sl.Next.RESTART)
    elif what == "resume":
        host.post(ev.Resume(()))
    elif what == "lose" and host.leases and host.state("broker") == "ready":
        host.queue.append(host.leases.pop(sorted(host.leases)[0]))
        host.broker.say(m.Lost(host.queue[-1].job_id, "another worker has it"))


def ended(host: Host) -> set[str]:
    return {job_id for job_id, how in host.endings if how is not m.Ending.RELEASED}


def check(host: Host) -> None:
    """Nobody ended twice; the pool knows no job that the broker does not hold."""
    finals = Counter(job_id for job_id, how in host.endings if how is not m.Ending.RELEASED)
    assert not [job_id for job_id, count in finals.items() if count > 1], host.endings
    if host.state("broker") == "ready":
        assert set(host.pool.jobs.entries) <= set(host.leases)


@settings(max_examples=150)
@given(blows=BLOWS, places=st.sampled_from([1, 1, 2]), loading_most=st.sampled_from([1, 2, 64]))
def test_every_job_ends_once_whatever_dies_on_the_way(
    blows: list[tuple[tuple[str, str, int], float]], places: int, loading_most: int
) -> None:
    host = Host(workers=3, places=places, loading_most=loading_most).begin(*JOBS, takes_s=6)
    for (what, name, code), wait_s in blows:
        host.run(wait_s)
        strike(host, what, name, code)
        check(host)

    host.post(ev.Resume(()))
    host.run_until(lambda: ended(host) == set(JOBS), 2000, step_s=2)

    check(host)
    assert host.pool.jobs.entries == {}


@settings(max_examples=150)
@given(blows=BLOWS, within_s=st.floats(5, 110), loading_most=st.sampled_from([1, 64]))
def test_stop_always_comes_to_its_end_in_time_and_leaves_no_process(
    blows: list[tuple[tuple[str, str, int], float]], within_s: float, loading_most: int
) -> None:
    host = Host(workers=3, loading_most=loading_most).begin(*JOBS, takes_s=40).run(8)
    for (what, name, code), wait_s in blows[:-2]:
        host.run(wait_s)
        strike(host, what, name, code)
    host.stop(within_s)
    ordered_at_s = host.now_s
    for (what, name, code), wait_s in blows[-2:]:
        host.run(wait_s / 10)
        if what != "lose":
            strike(host, what, name, code)

    host.run(200)

    assert host.ended is not None
    assert host.now_s <= ordered_at_s + within_s + 10
    assert host.processes == {}
    assert (host.ended.code is Exit.OK) == (not host.leases), (host.ended, host.leases)
