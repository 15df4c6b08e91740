"""The doctor's checks of a service that runs here: its health and its settings.

The checks use the running service's own settings: a shell has another environment, and config.toml may have
changed since the start. A difference between the two is reported as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from supervisor.cli.client.control_client import NotPermitted, NotRunning, ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.text.text_format import printable
from supervisor.contract import codec, degraded
from supervisor.contract.finding import Finding
from supervisor.settings.load import Loaded, load_settings
from supervisor.settings.mistakes import SettingsWrong
from supervisor.settings.reloadable import changed_keys
from supervisor.settings.schema import Settings
from supervisor.settings.socket_path import SocketFolderUnsafe, read_address, socket_path
from supervisor.settings.typed_values import value_of


@dataclasses.dataclass(frozen=True)
class RunningService:
    """The replies of this state directory's service. `failure`: why there was none."""

    status: Optional[Mapping[str, Any]] = None
    settings: Optional[Settings] = None
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    failure: str = ""
    pid: int = 0  # of the supervisor; 0: not known
    is_forbidden: bool = False  # this user may not ask it

    def loaded(self, shell: Optional[Loaded]) -> Optional[Loaded]:
        """Give the settings to check: the service's, else the shell's (and its AWS names of `.env`)."""
        if self.settings is None:
            return shell
        aws = shell.aws_environment if shell is not None else {}
        return Loaded(self.settings, self.origins, aws, shell.config if shell is not None else None)


def ask_service(state_dir: Optional[str], environ: Mapping[str, str]) -> RunningService:
    """Request status and settings of this state directory's service."""
    if not state_dir:
        return RunningService()
    try:
        status = ask(state_dir, {"do": "status"}, environ).get("status")
    except NotRunning:
        return RunningService()
    except CommandFailed as error:
        forbidden = isinstance(error, NotPermitted)
        return RunningService(failure=str(error), pid=_pid_of(state_dir), is_forbidden=forbidden)
    if not isinstance(status, dict):
        return RunningService(failure="the supervisor's reply has no status; it may be another version")
    try:
        reply = ask(state_dir, {"do": "settings"}, environ)
        own = codec.from_plain(Settings, reply.get("settings"))
    except (CommandFailed, codec.BadValue):
        return RunningService(
            status, pid=_pid_of(state_dir)
        )  # an older or newer supervisor that does not send its settings
    origins = reply.get("origins")
    return RunningService(status, own, origins if isinstance(origins, dict) else {}, pid=_pid_of(state_dir))


def _pid_of(state_dir: str) -> int:
    try:
        written = read_address(state_dir)
    except PermissionError:
        return 0  # another user's service, reached through its group's socket
    return written.pid if written is not None else 0


def of_service(
    running: RunningService, state_dir: str, environ: Mapping[str, str], for_group: bool = False
) -> Iterator[Finding]:
    """Report the service's health, or whether one could run here. `for_group`: [control] group is set."""
    if running.failure:
        # Without access, the sentence already says which user or group is needed.
        cure = "" if running.is_forbidden else "See the service's log; restart it if it does not recover"
        yield Finding("service", "fail", running.failure, cure)
    elif running.status is None:
        yield _of_socket(state_dir, environ, for_group)
    else:
        yield from of_status(running.status)


def of_status(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Report what a status says: running, or each problem of the service."""
    supervisor = status.get("supervisor")
    pid = supervisor.get("pid") if isinstance(supervisor, dict) else None
    state, wrong = degraded.state_of(status) or "state unknown", degraded.reasons(status)
    if state != "running":
        reason = printable(supervisor.get("reason")) if isinstance(supervisor, dict) else ""
        because = f": {reason}" if reason else ""
        cure = "" if state == "stopping" else "rem-supervisor resume accepts jobs again"
        yield Finding("service", "warn", f"{state}, pid {pid or 'unknown'}; accepts no jobs{because}", cure)
    elif degraded.is_starting(status):
        cure = "Wait; rem-supervisor status shows when it is ready"
        yield Finding("service", "warn", f"starting, pid {pid or 'unknown'}: no worker is ready yet", cure)
    elif not wrong:
        yield Finding("service", "ok", f"running, pid {pid or 'unknown'}")
    held = {sentence: names for names, sentence in degraded.slots_in("held", status)}
    for reason in wrong:
        yield Finding("service", "fail", reason, _cure(held.get(reason, [])))
    if state == "running":
        yield from _of_drained_slots(status)


def _cure(held: list[str]) -> str:
    if not held:
        return "See rem-supervisor status and the service's log"
    if len(held) == 1:
        return f"Fix the cause, then run rem-supervisor release {held[0]}"
    return f"Fix the cause, then run rem-supervisor release for each of them: {', '.join(held)}"


def _of_drained_slots(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Name slots that an operator drained: the service itself counts as healthy without them."""
    for slot in degraded.worker_slots(status):
        if slot.get("state") == "stopped" and slot.get("reason") and slot.get("has_started") is not False:
            name, reason = printable(slot.get("name")), printable(slot["reason"])
            cure = f"rem-supervisor resume {name} starts it again"
            yield Finding("service", "warn", f"{name} is stopped: {reason}", cure)


def of_differences(running: RunningService, shell: Optional[Loaded]) -> Iterator[Finding]:
    """Report settings that differ between the running service and this shell."""
    if running.settings is None or shell is None:
        return
    # A shell has no flags of `run`, and no settings derived from them.
    flagged = {key for key, origin in running.origins.items() if origin == "flag"}
    if running.settings.devices.fake_gpus:
        flagged.add("devices.compute")
    keys = [key for key in changed_keys(running.settings, shell.settings) if key not in flagged]
    if not keys:
        return
    service = Loaded(running.settings, running.origins, {})
    pairs = [
        f"{key} is {_said(service, key)} in the service and {_said(shell, key)} in this shell" for key in keys
    ]
    yield Finding(
        "settings",
        "warn",
        f"the running service's settings differ from this shell's: {'; '.join(pairs)}",
        "The checks use the service's. To apply this shell's: rem-supervisor reload, or a restart",
    )


def _said(loaded: Loaded, key: str) -> str:
    return f"{value_of(loaded.settings, key)!r} ({loaded.origins.get(key, 'default')})"


def shell_settings(config: Optional[str]) -> tuple[Optional[Loaded], list[Finding]]:
    """Read this shell's settings; gives them, or each mistake in them."""
    try:
        return load_settings(config), []
    except SettingsWrong as wrong:
        return None, [
            Finding("settings", "fail", f"{one.source}: {one.key}: {one.what}", one.cure)
            for one in wrong.mistakes
        ]


def _of_socket(state_dir: str, environ: Mapping[str, str], for_group: bool) -> Finding:
    try:
        path = socket_path(state_dir, environ, for_group)
        return Finding("service", "ok", f"not running; its socket would be {path}")
    except SocketFolderUnsafe as error:
        return Finding("service", "fail", str(error), "Remove that folder, or set REM_SOCKET")
    except OSError as error:
        return Finding(
            "service",
            "fail",
            f"the control socket can't be created: {error}",
            "Set REM_SOCKET to a short path",
        )
