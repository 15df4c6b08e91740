"""EC2 takes a machine whose service systemd restarts: it must not take work on again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.running_service import wait_for
from tests.systemd.machine import Machine
from tests.systemd.root_folder import HOME
from tests.systemd.unit import NAME, Unit

pytestmark = [pytest.mark.slow, pytest.mark.systemd, pytest.mark.timeout(300)]

# Inside, as its network is loopback alone. One line in: tell the notice. The end of file: leave.
_METADATA = """
import sys
from supervisor.notices.fake_imds import FakeImds
from supervisor.notices.notice import Kind
with FakeImds() as fake:
    print(fake.endpoint, flush=True)
    for line in sys.stdin:
        print(fake.tell(Kind.SPOT, in_s=100), flush=True)
"""


class Metadata:
    """The imitated metadata service inside the machine."""

    def __init__(self, machine: Machine) -> None:
        self._process = machine.begin(f"{HOME}/.venv/bin/python", "-c", _METADATA)
        self.endpoint = self._line()

    def tell_interruption(self) -> None:
        """From now on EC2 says: this machine is terminated in 100 s."""
        assert self._process.stdin is not None
        self._process.stdin.write("tell\n")
        self._line()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the imitated metadata service has ended"
        return line


@contextmanager
def metadata(machine: Machine) -> Iterator[Metadata]:
    service = Metadata(machine)
    try:
        yield service
    finally:
        service.close()


def test_spot_notice_in_mid_job_ends_in_drained_and_stays_so_after_a_restart(unit: Unit) -> None:
    with metadata(unit.machine) as ec2:
        unit.set_environment(
            AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.endpoint, AWS_EC2_METADATA_DISABLED="false"
        )
        unit.start()
        unit.wait_done_once(unit.submit("harbour.wav"))  # now its speed is known: a job may be finished
        job = unit.submit("long.wav")
        unit.wait_in_mid_job()

        ec2.tell_interruption()
        unit.wait_drained()

        unit.wait_done_once(job)
        assert unit.get("ActiveState") == "active"
        wait_for(lambda: unit.get("StatusText").startswith("drained"), "systemd to be told")
        assert unit.worker_pids() == []

        # Not only in order: a supervisor that dies is started again by systemd, on a doomed machine.
        was = unit.main_pid()
        unit.kill("KILL")
        unit.wait_ready_after(was)
        unit.wait_drained()
        later = unit.submit("harbour.wav")
        unit.machine.run("systemctl", "restart", NAME, limit_s=90)
        unit.wait_drained()

        # Drained is as ready as it gets: a start that timed out would be restarted for ever.
        assert unit.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
        assert unit.worker_pids() == []
        assert unit.sender().left() == 1
        assert unit.sender().record(later).get("remState") is None
