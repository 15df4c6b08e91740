"""Where a command looks that nobody told where: at the service that systemd runs on this host.

systemd tells the service its state directory by STATE_DIRECTORY; a root shell has no such
name. Only commands look here: `run` and `demo` never take the service's own folder over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# As deploy/rem-supervisor.service has it: StateDirectory=rem-supervisor.
STATE_DIRECTORY = "/var/lib/rem-supervisor"
_SERVICES = ("run", "demo")


def names_to_add(verb: str, environ: Mapping[str, str], folder: str = STATE_DIRECTORY) -> dict[str, str]:
    """Give what systemd would have told this command about the installed service.

    Nothing where the caller has a state directory of his own, named or in his home. Who may not enter the
    service's is led there too: that a service may run, as another user, is the answer then.
    """
    if verb in _SERVICES or environ.get("REM_STATE_DIR") or environ.get("STATE_DIRECTORY"):
        return {}
    own = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or '~'}/.local/state"
    if os.path.isdir(os.path.expanduser(f"{own}/rem-supervisor")) or not os.path.isdir(folder):
        return {}
    return {"STATE_DIRECTORY": folder}
