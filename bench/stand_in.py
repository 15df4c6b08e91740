"""The service itself, with another program in a worker's place and no model to fetch."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any


def serve(*command: str) -> None:
    """Be the service until it is stopped; `command` is the worker's. Ends the process."""
    from supervisor.processes import child_specs
    from supervisor.service import run
    from supervisor.settings.load import load_settings

    real_fetch = child_specs.model_fetch

    def worker(*what: Any) -> Any:
        return dataclasses.replace(child_specs.worker(*what), command=command)

    def no_fetch(*what: Any) -> Any:
        said = json.dumps({"event": "ready", "path": "/", "source": "none"})
        return dataclasses.replace(real_fetch(*what), command=("/bin/echo", said))

    child_specs.model_fetch = no_fetch
    sys.exit(run.run_service(load_settings(), worker))
