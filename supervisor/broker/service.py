"""Assembles the broker from its settings and runs it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import signal
import time
import uuid
from pathlib import Path
from typing import Callable

from supervisor.broker.backends import connect as backends
from supervisor.broker.backends.failed_jobs import FailedJobs
from supervisor.broker.dispatcher import Dispatcher
from supervisor.broker.in_flight.in_flight import InFlight
from supervisor.broker.in_flight.lease_journal import LeaseJournal
from supervisor.broker.in_flight.outages import OutageReporter
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.errors import BrokerError, CannotServe
from supervisor.broker.receiving.intake import Intake
from supervisor.broker.work.checkpoint_upload import CheckpointUpload
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import Executor
from supervisor.broker.work.lease_renewal import LeaseRenewal
from supervisor.broker.work.settlement import Settlement
from supervisor.contract import child_bootstrap, clock, logline
from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing
from supervisor.contract.wire.blocking_link import BlockingLink, LinkClosed
from supervisor.contract.wire.messages import TO_BROKER, FromBroker, ToBroker
from supervisor.settings.schema import Settings

log = logging.getLogger(__name__)
_PREDECESSOR_S = 5.0  # a broker without its supervisor releases its jobs within two seconds


def serve() -> None:
    """Run the broker until the supervisor sends Leave or is gone."""
    settings = child_bootstrap.settings(Settings)
    link: BlockingLink[ToBroker] = BlockingLink(child_bootstrap.link(), TO_BROKER)
    writer = logline.set_up("broker", settings.log.level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # only the supervisor stops it: Leave, or a closed link
    try:
        state_dir = Path(settings.state_dir)
        lock = lock_state(state_dir)
        dispatcher = build(settings, state_dir, link)
        dispatcher.open()
        while not dispatcher.is_over:
            dispatcher.turn()
        os.close(lock)
    except (BrokerError, OSError) as error:
        log.error("broker cannot start", extra={"event": "broker-cannot-serve", "reason": str(error)})
        logline.die_quietly(Exit.FAILED, writer)
    except Exception as error:  # exit at once: the interpreter would wait for threads
        log.exception(
            "broker ended on an unexpected error",
            extra={"event": "broker-failed", "reason": f"{type(error).__name__}: {error}"},
        )
        logline.die_quietly(Exit.FAILED, writer)
    # Threads may still be blocked in calls whose results are no longer needed.
    logline.die_quietly(Exit.OK, writer)


def build(settings: Settings, state_dir: Path, link: BlockingLink[ToBroker]) -> Dispatcher:
    """Build a dispatcher on the settings' backend and connect it to the link."""
    executor = Executor()

    def send(message: FromBroker) -> None:
        with contextlib.suppress(LinkClosed):  # `on_end` is called, too
            link.send(message)

    dispatcher = assemble(settings, state_dir, backends.connect(settings), executor, send, clock.boot_id())

    def on_end(error: Exception) -> None:
        if isinstance(error, framing.BadLine):
            log.error(
                "invalid message from the supervisor",
                extra={"event": "supervisor-message-invalid", "reason": str(error)},
            )
        executor.post(dispatcher.on_supervisor_gone)

    link.listen(lambda message: executor.post(lambda: dispatcher.on_message(message)), on_end)
    return dispatcher


def assemble(
    settings: Settings,
    state_dir: Path,
    backend: Backend,
    executor: Executor,
    send: Callable[[FromBroker], None],
    boot_id: str,
    chance: Callable[[], float] = random.random,
) -> Dispatcher:
    """Build a dispatcher from any backend and executor."""
    spool = Spool(state_dir / "spool", settings.spool.limit_bytes, settings.spool.max_file_bytes)
    files = LeaseJournal(state_dir / "leases", boot_id)
    outages = OutageReporter(send)
    in_flight = InFlight(files, spool, outages)
    context = BrokerContext(
        backend,
        executor,
        in_flight,
        spool,
        FailedJobs(state_dir),
        outages,
        send,
        identity(state_dir),
        float(settings.queue.lease_s),
        settings.queue.hold_most_s,
        shares=settings.spool.share_checkpoints,
        chance=chance,
    )
    settlement = Settlement(context)
    intake = Intake(
        context, settlement, backends.envelope_policy(settings, backend), settings.queue.max_receives
    )
    renewal, upload = LeaseRenewal(context, settlement), CheckpointUpload(context, settlement)
    return Dispatcher(context, intake, settlement, renewal, upload, files)


def identity(state_dir: Path) -> str:
    """Return the id of this state directory: created once, then read by every later process."""
    path = state_dir / "identity"
    with contextlib.suppress(FileExistsError):  # created by an earlier process
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "w", encoding="ascii") as file:
            file.write(uuid.uuid4().hex)
    found = path.read_text(encoding="ascii").strip()
    if len(found) != 32:
        path.unlink()  # its writer died before writing
        return identity(state_dir)
    return found


def lock_state(state_dir: Path) -> int:
    """Lock this state directory for this broker; returns the lock's file descriptor.

    Waits for a predecessor that is about to exit. Raises CannotServe if it does not.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = os.open(state_dir / "broker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until_s = clock.now_s() + _PREDECESSOR_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except OSError:
            if clock.now_s() >= until_s:
                os.close(number)
                raise CannotServe(f"another broker works in {state_dir}") from None
            time.sleep(0.05)
