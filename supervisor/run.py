"""Puts the parts of the service together, nothing else."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys

from supervisor import recipes
from supervisor.contract import logline, process_start
from supervisor.contract.exits import Exit
from supervisor.contract.settings import Loaded
from supervisor.control import Control
from supervisor.control_socket import GroupUnusable, SocketUnusable
from supervisor.loop import Service
from supervisor.recipes import PRETEND_FILE
from supervisor.requests import Requests
from supervisor.socket_path import SocketFolderUnsafe, socket_path
from supervisor.start_log import log_start
from supervisor.state_dir import StateDir, StateDirBroken, StateDirTaken

log = logging.getLogger(__name__)


def run_service(loaded: Loaded, make_worker: recipes.MakeWorker = recipes.worker) -> int:
    """Run the supervisor until it is told to stop; give the exit code.

    `make_worker` says what a worker is: the service's own, or one that a benchmark measures with.
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
    """Set what this process inherited, and what its children inherit from it."""
    process_start.begin_service()
    process_start.hide_memory()
    process_start.keep_descriptors()
    process_start.raise_descriptor_limit()
    process_start.write_no_core()


def _run(loaded: Loaded, make_worker: recipes.MakeWorker) -> Exit:
    settings = loaded.settings
    state = StateDir(settings.state_dir)
    address = socket_path(settings.state_dir, os.environ, bool(settings.control.group))
    # systemd's watchdog kills with SIGABRT: what hung should stand in the journal.
    faulthandler.enable()
    (state.path / PRETEND_FILE).unlink(missing_ok=True)  # an earlier run's faults are over
    writer = logline.set_up("supervisor", settings.log.level, settings.log.format)
    try:
        return asyncio.run(_serve(loaded, state, address, make_worker))
    finally:
        writer.stop()


def _refuse(sentence: str, code: Exit) -> Exit:
    """Say on stderr why there is no service."""
    sys.stderr.write(f"rem-supervisor: {sentence}.\n")
    return code


async def _serve(loaded: Loaded, state: StateDir, address: str, make_worker: recipes.MakeWorker) -> Exit:
    settings = loaded.settings
    service = Service(loaded, state, dict(os.environ), make_worker)
    control = Control(address, settings.control.group, Requests(service).answer)
    await control.open()
    try:
        state.write_address(address)
        log_start(loaded, address)
        return await service.run()
    finally:
        await control.close()
