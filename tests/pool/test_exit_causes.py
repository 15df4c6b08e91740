"""What the end of a process amounts to for its jobs."""

from __future__ import annotations

import pytest

from supervisor.contract.exits import STATUS_UNKNOWN
from supervisor.contract.wire import messages as m
from supervisor.pool.rules.exit_causes import classify_exit
from supervisor.pool.state.events import Died, Member
from supervisor.pool.state.jobs import Death
from supervisor.pool.state.slot_types import Policy, Slot, SlotState
from tests.pool.simulated_host import Host


@pytest.mark.parametrize(
    ("returncode", "out_of_memory", "death"),
    [
        (-9, False, Death.KILLED_OUTSIDE),
        (-9, True, Death.CRASH),
        (-11, False, Death.CRASH),
        (STATUS_UNKNOWN, False, Death.KILLED_OUTSIDE),
        (STATUS_UNKNOWN, None, Death.KILLED_OUTSIDE),
        (STATUS_UNKNOWN, True, Death.CRASH),
    ],
)
def test_only_what_is_known_of_an_end_speaks_against_the_recording(
    returncode: int, out_of_memory: bool, death: Death
) -> None:
    member = Member(Slot("w0", "worker", SlotState.READY), Policy())

    assert classify_exit(member, Died("w0", returncode, 0.5, out_of_memory)) is death


def test_worker_whose_exit_status_is_unknown_is_replaced_and_its_job_goes_on_uncharged() -> None:
    host = Host(workers=1).begin("a", takes_s=20).run_until_has("w0")

    host.kill("w0", STATUS_UNKNOWN)
    host.run(1)

    assert (host.slot("w0").restarts, host.slot("w0").failures) == (1, 1)
    assert not host.pool.jobs.entries["a"].suspect
    assert host.run(60).ended_as(m.Ending.DONE) == ["a"]


def test_worker_that_does_not_die_keeps_no_recording() -> None:
    """Its job stayed with it, and its lease was renewed, until somebody rebooted the machine."""
    host = Host(workers=2).begin("a", takes_s=500).run_until_has("w0")
    host.worker("w0").immortal = host.worker("w0").stuck = True

    host.run_until(lambda: host.endings, 400)

    assert host.slot("w0").signalled == "lost"
    assert host.endings == [("a", m.Ending.FAILED)]  # as the puppet has it; the broker tries it again
    assert host.pool.jobs.entries == {}
    (told,) = [message for message in host.broker.heard if isinstance(message, m.Fail)]
    assert told.failure is m.Failure.STALL


def test_end_of_a_process_that_was_given_up_frees_its_slot_and_no_second_time_its_job() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run_until_has("w0")
    host.worker("w0").immortal = host.worker("w0").stuck = True
    host.run_until(lambda: host.endings, 400)

    host.kill("w0")
    host.run(30)

    assert (host.state("w0"), len(host.endings)) == ("ready", 1)
