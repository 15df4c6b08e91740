"""What a service says of itself as it starts; with LOG_LEVEL=DEBUG, where each setting came from."""

from __future__ import annotations

import logging
import os

from supervisor import __version__
from supervisor.contract import process_start
from supervisor.contract.settings import Loaded, known_keys
from supervisor.contract.settings_typed import value_of

log = logging.getLogger(__name__)


def log_start(loaded: Loaded, socket: str) -> None:
    """Log which service this is and what it will do."""
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
    log.info("service started", extra=facts)
    for note in loaded.notes:
        log.warning("setting ignored or read differently", extra={"note": note})
    for key in known_keys():
        origin = loaded.origins.get(key, "default")
        log.debug("setting", extra={"key": key, "value": value_of(own, key), "from": origin})
    for option, value in process_start.harmful_limits():
        log.warning("a limit was inherited that may end processes", extra={"limit": option, "value": value})
