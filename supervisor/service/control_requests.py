"""Carries out requests of the control socket."""

from __future__ import annotations

from typing import Any, Optional

from supervisor.contract import clock, codec
from supervisor.notices.notice import SPOT_NOTICE_S, Kind
from supervisor.pool import control_replies
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.service.control.server import RequestRefused
from supervisor.service.loop import Service
from supervisor.settings.mistakes import SettingsWrong


class ControlRequests:
    """Turns requests into events of the service; each reply is available at once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._verbs = {
            "status": self._status,
            "settings": self._settings,
            "jobs": self._jobs,
            "drain": self._drain,
            "resume": self._resume,
            "restart": self._restart,
            "release": self._release,
            "reload": self._reload,
            "drill": self._drill,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the content of the reply. Raises `RequestRefused` with a sentence for the user."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise RequestRefused(
                f"unknown request {str(request.get('do'))[:60]!r}; known: {', '.join(self._verbs)}"
            )
        return verb(request)

    def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": self._service.status()}

    def _settings(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the settings in force; they contain no secrets."""
        loaded = self._service.loaded
        return {"settings": codec.to_plain(loaded.settings), "origins": dict(loaded.origins)}

    def _jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        entries = self._service.pool.jobs.entries.values()
        return {
            "jobs": [
                {
                    "id": entry.card.job_id,
                    "stage": entry.stage.value,
                    "slot": entry.slot or None,
                    "attempt": entry.card.attempt,
                    "progress_ratio": round(entry.progress_ratio, 3),
                }
                for entry in entries
            ]
        }

    def _drain(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        names = self._names(request)
        drain_s = self._service.loaded.settings.supervisor.drain_s
        within_s = self._seconds(request.get("deadline_s"), drain_s, "deadline_s")
        self._service.post(ev.DrainSlots(names, clock.now_s() + within_s, "drained by operator"))
        return {"text": control_replies.of_drain(self._service.pool, names, within_s)}

    def _resume(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        names = self._names(request)
        self._service.notices.resumed()
        self._service.post(ev.Resume(names))
        self._service.create_slots()
        return {"text": control_replies.of_resume(self._service.pool, names)}

    def _restart(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        pool, slot = self._service.pool, self._slot(request)
        drain_s = self._service.loaded.settings.supervisor.drain_s
        self._refuse_unless_running(slot)
        if slot.state is sl.SlotState.HELD and (again := self._model_again(slot)):
            return again
        if slot.kind == "worker" and slot.state in sl.ALIVE:
            by_s = clock.now_s() + drain_s
            self._service.post(ev.DrainSlots((slot.name,), by_s, "restarted by operator", sl.Next.RESTART))
        else:
            order = sl.Kill("restarted by operator") if slot.state in sl.ALIVE else sl.Begin()
            self._service.post(ev.SlotEvent(slot.name, order))
        self._service.create_slots()  # a slot whose model is missing is held again, with the reason
        self._refuse_if_held(slot.name, f"`rem-supervisor release {slot.name}` retries it")
        return {"text": control_replies.of_restart(pool, pool.members[slot.name], slot.state, drain_s)}

    def _model_again(self, slot: sl.Slot) -> Optional[dict[str, Any]]:
        """Retry model fetches that were given up; None if there are none."""
        models = self._service.fetch_models_again()
        if not models:
            return None
        names = ", ".join(models)
        return {"text": f"looking for model {names} again; {slot.name} stays held until it is found"}

    def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        slot = self._slot(request)
        if slot.state is not sl.SlotState.HELD:
            raise RequestRefused(f"{slot.name} is not held; its state is {slot.state.value}")
        self._refuse_unless_running(slot)
        again = self._model_again(slot)
        if again:
            return again
        self._service.post(ev.ReleaseSlot(slot.name))
        self._service.create_slots()
        self._refuse_if_held(slot.name, "Fix the cause first")
        pool = self._service.pool
        member = pool.members[slot.name]
        return {
            "text": control_replies.of_release(pool, member),
            "follow": control_replies.follow(pool, member),
        }

    def _refuse_unless_running(self, slot: sl.Slot) -> None:
        mode = self._service.pool.mode
        if slot.kind == "worker" and mode is not ev.Mode.RUNNING:
            raise RequestRefused(
                f"the service is {mode.value}: {slot.name} would get no jobs. "
                f"`rem-supervisor resume {slot.name}` starts it and accepts jobs again"
            )

    def _refuse_if_held(self, name: str, cure: str) -> None:
        slot = self._service.pool.members[name].slot
        if slot.state is sl.SlotState.HELD:
            raise RequestRefused(f"{name} stays held: {slot.reason.rstrip('.')}. {cure}")

    def _reload(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        try:
            return {"text": self._service.reload()}
        except SettingsWrong as error:
            raise RequestRefused(f"invalid settings; the previous ones stay in effect:\n{error}") from error

    def _drill(self, request: dict[str, Any]) -> dict[str, Any]:
        self._refuse_while_stopping()
        try:
            kind = Kind(str(request.get("kind")))
            in_s = self._seconds(request.get("in_s"), SPOT_NOTICE_S, "in_s")
            notice = self._service.notices.drill(kind, str(request.get("action") or "terminate"), in_s)
        except ValueError as error:
            raise RequestRefused(f"no such drill: {error}") from error
        left_s = max(0.0, notice.deadline_at_s - clock.now_s())
        unheard = self._service.notices.why_ignored(kind)
        return {"text": control_replies.of_notice(self._service.pool, notice.why, left_s, unheard)}

    def _names(self, request: dict[str, Any]) -> tuple[str, ...]:
        given = request.get("slots") or []
        known = [member.slot.name for member in self._service.pool.workers()]
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise RequestRefused("slots must be a list of names")
        for name in given:
            if name not in known:
                raise RequestRefused(
                    f"there is no worker slot {name[:60]!r}; known slots: {', '.join(known) or 'none yet'}"
                )
        return tuple(given)

    def _slot(self, request: dict[str, Any]) -> sl.Slot:
        name = str(request.get("slot"))
        member = self._service.pool.members.get(name)
        if member is None:
            raise RequestRefused(
                f"there is no slot {name[:60]!r}; known slots: {', '.join(self._service.pool.members)}"
            )
        return member.slot

    def _seconds(self, given: Optional[object], otherwise_s: float, name: str) -> float:
        if given is None:
            return otherwise_s
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 86_400:
            raise RequestRefused(f"{name} must be a number of seconds from 0 to 86400")
        return float(given)

    def _refuse_while_stopping(self) -> None:
        if self._service.pool.mode is ev.Mode.STOPPING:
            raise RequestRefused("the supervisor is stopping")
