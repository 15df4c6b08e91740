"""Finds the service that systemd runs on this host, for a command that names no state directory.

systemd passes the state directory to the service as STATE_DIRECTORY; a root shell does not
have that variable. `run` and `demo` never use the service's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# As deploy/rem-supervisor.service has it: StateDirectory=rem-supervisor.
STATE_DIRECTORY = "/var/lib/rem-supervisor"
_SERVICES = ("run", "demo")


def names_to_add(verb: str, environ: Mapping[str, str], folder: str = STATE_DIRECTORY) -> dict[str, str]:
    """Give the environment that systemd would set for the installed service.

    Nothing if the caller has a state directory, named or in the home directory. It applies also to users
    who may not enter the service's folder: they learn that a service may be running as another user.
    """
    if verb in _SERVICES or environ.get("REM_STATE_DIR") or environ.get("STATE_DIRECTORY"):
        return {}
    own = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or '~'}/.local/state"
    if os.path.isdir(os.path.expanduser(f"{own}/rem-supervisor")) or not os.path.isdir(folder):
        return {}
    return {"STATE_DIRECTORY": folder}
