"""Whose leases are extended: those of jobs that wait here or that a living worker works on."""

from __future__ import annotations

from supervisor.pool.rules.lease_extension import SILENT_MOST_S
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from tests.pool.simulated_host import WORKER, Host


def kept_between(host: Host, from_s: float, to_s: float) -> list[tuple[str, ...]]:
    return [jobs for at_s, jobs in host.kept if from_s < at_s <= to_s]


def test_lease_of_a_hung_worker_is_not_renewed() -> None:
    """It was renewed until the worker was killed, however long that took."""
    host = Host(workers=2)
    host.fates["bad"] = lambda worker: setattr(worker, "silent", True)
    host.begin("bad", "good", takes_s=40).run_until_has("w0").run_until_has("w1")
    hung_at_s = host.now_s

    host.run(WORKER.silence_s - 2)

    after = kept_between(host, hung_at_s + SILENT_MOST_S + 1, host.now_s)
    assert after
    assert set(after) == {("good",)}


def test_lease_of_a_worker_that_is_killed_for_a_fault_is_not_renewed() -> None:
    host = Host(workers=1).begin("a", takes_s=400).run_until_has("w0").run(5)
    host.processes["w0"].immortal = True
    host.post(ev.SlotEvent("w0", sl.Kill("it hangs", fault=True)))
    killed_at_s = host.now_s

    host.run(WORKER.gone_s - 0.5)

    assert all(not jobs for jobs in kept_between(host, killed_at_s, host.now_s))


def test_lease_of_a_worker_that_is_slow_but_speaks_is_renewed_until_its_stall_budget_ends() -> None:
    """A large model's slowest window takes minutes on one core; without its lease it would never end."""
    host = Host(workers=1)
    host.fates["slow"] = lambda worker: setattr(worker, "stuck", True)
    host.begin("slow").run_until_has("w0")
    stuck_at_s = host.now_s

    host.run(WORKER.stall_s - 10)

    after = kept_between(host, stuck_at_s + 5, host.now_s)
    assert len(after) > 50
    assert set(after) == {("slow",)}
