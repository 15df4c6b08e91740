"""Runs a worker until its process ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Callable, NoReturn

from supervisor.contract import child_bootstrap, logline
from supervisor.contract.child_bootstrap import WorkerSettings
from supervisor.contract.exits import Exit
from workerproc.jobs.worker import Worker
from workerproc.process import errors
from workerproc.process.link import WorkerLink

log = logging.getLogger(__name__)

# Errors that end the worker: log message, event, exit code.
_ENDS: Mapping[type[BaseException], tuple[str, str, Exit]] = {
    errors.ModelBroken: ("model cannot be used", "model-unusable", Exit.MODEL_BROKEN),
    errors.SettingsUnfit: ("settings do not fit the model", "settings-unfit", Exit.SETTINGS_WRONG),
    errors.MemoryLacking: ("model does not fit into memory", "model-out-of-memory", Exit.OUT_OF_MEMORY),
    errors.DeviceBroken: ("device cannot be used", "device-unusable", Exit.DEVICE_BROKEN),
}


def be_worker(settings: WorkerSettings) -> NoReturn:
    """Run the worker until the process ends. Never returns."""
    writer = logline.set_up("worker", settings.log_level)
    writer.addFilter(_stamp(settings.slot))

    def die(code: int) -> NoReturn:
        logline.die_quietly(code, writer)
        raise AssertionError("os._exit returned")

    worker = Worker(settings, WorkerLink(child_bootstrap.link(), die), die)
    try:
        worker.run()
    except tuple(_ENDS) as error:
        sentence, event, code = _ENDS[type(error)]
        facts = {"reason": str(error), "model": settings.model, "device": settings.device}
        log.error(sentence, extra={"event": event, **facts})
        die(code)
    except Exception:  # the interpreter's own way out may hang in a native library
        log.exception("worker ended on an unexpected error", extra={"event": "worker-failed"})
        die(Exit.FAILED)
    die(Exit.OK)


def _stamp(slot: str) -> Callable[[logging.LogRecord], bool]:
    def add(record: logging.LogRecord) -> bool:
        record.slot = slot
        return True

    return add
