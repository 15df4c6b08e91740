"""Assembles the service and runs it."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys

from supervisor import __version__
from supervisor.contract import logline, process_start
from supervisor.contract.exits import Exit
from supervisor.processes import child_specs
from supervisor.processes.child_specs import PRETEND_FILE
from supervisor.service.control.server import ControlServer
from supervisor.service.control.socket_file import GroupUnusable, SocketUnusable
from supervisor.service.control_requests import ControlRequests
from supervisor.service.loop import Service
from supervisor.service.state_dir import StateDir, StateDirBroken, StateDirTaken
from supervisor.settings.load import Loaded, known_keys
from supervisor.settings.socket_path import SocketFolderUnsafe, socket_path
from supervisor.settings.typed_values import value_of

log = logging.getLogger(__name__)


def run_service(loaded: Loaded, make_worker: child_specs.MakeWorker = child_specs.worker) -> int:
    """Run the supervisor until it is stopped; return the exit code.

    `make_worker` returns a worker's child spec; benchmarks pass their own.
    """
    _prepare_process()
    try:
        return _run(loaded, make_worker)
    except (StateDirTaken, StateDirBroken, SocketFolderUnsafe) as error:
        return _refuse(f"{error}", Exit.FAILED)
    except GroupUnusable as error:
        group = loaded.settings.control.group
        return _refuse(f"[control] group = {group!r}: {error}", Exit.SETTINGS_WRONG)
    except SocketUnusable as error:
        if os.environ.get("REM_SOCKET"):
            cure = "Name a path of its own, or leave it out"
            return _refuse(f"REM_SOCKET: {error}. {cure}", Exit.SETTINGS_WRONG)
        return _refuse(f"{error}. Stop or remove what is there, or set REM_SOCKET", Exit.FAILED)


def _prepare_process() -> None:
    """Set limits, descriptors and signals of this process and its children."""
    process_start.begin_service()
    process_start.hide_memory()
    process_start.keep_descriptors()
    process_start.raise_descriptor_limit()
    process_start.write_no_core()


def _run(loaded: Loaded, make_worker: child_specs.MakeWorker) -> Exit:
    settings = loaded.settings
    state = StateDir(settings.state_dir)
    address = socket_path(settings.state_dir, os.environ, bool(settings.control.group))
    # systemd's watchdog kills with SIGABRT: the stacks of the hung process then go to the journal.
    faulthandler.enable()
    (state.path / PRETEND_FILE).unlink(missing_ok=True)  # simulated faults of an earlier run
    writer = logline.set_up("supervisor", settings.log.level, settings.log.format)
    try:
        return asyncio.run(_serve(loaded, state, address, make_worker))
    finally:
        writer.stop()


def _refuse(sentence: str, code: Exit) -> Exit:
    """Print on stderr why the service does not start."""
    sys.stderr.write(f"rem-supervisor: {sentence}.\n")
    return code


async def _serve(loaded: Loaded, state: StateDir, address: str, make_worker: child_specs.MakeWorker) -> Exit:
    settings = loaded.settings
    service = Service(loaded, state, dict(os.environ), make_worker)
    control = ControlServer(address, settings.control.group, ControlRequests(service).answer)
    await control.open()
    try:
        state.write_address(address)
        log_start(loaded, address)
        return await service.run()
    finally:
        await control.close()


def log_start(loaded: Loaded, socket: str) -> None:
    """Log the service's main settings; with LOG_LEVEL=DEBUG also the source of each setting."""
    own = loaded.settings
    by_default = "SQS_QUEUE_URL" if own.aws.queue_url else "default"
    facts = {
        "version": __version__,
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "backend": own.backend.kind,
        "backend_from": loaded.origins.get("backend.kind", by_default),
        "profile": own.transcription.profile,
        "model": own.transcription.model,
        "device": own.devices.device,
        "compute_type": own.transcription.compute_type,
        "state_dir": own.state_dir,
        "socket": socket,
    }
    log.info("service started", extra={"event": "service-started", **facts})
    for note in loaded.notes:
        log.warning(
            "setting ignored or interpreted differently", extra={"event": "setting-note", "note": note}
        )
    for key in known_keys():
        origin = loaded.origins.get(key, "default")
        log.debug(
            "setting", extra={"event": "setting", "key": key, "value": value_of(own, key), "from": origin}
        )
    for option, value in process_start.harmful_limits():
        log.warning(
            "inherited resource limit may end processes",
            extra={"event": "inherited-limit", "limit": option, "value": value},
        )
