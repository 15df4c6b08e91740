"""The event loop of the supervisor: events in, decisions by the pool, actions out.

Messages and exits of children, signals, timers and control requests become events of the
pool. Its actions are carried out at once and in order; none of them waits. `provisioning.py`
decides which slots exist and whether the model is available.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections import deque
from collections.abc import Mapping
from typing import Any, Optional, Union

from supervisor.contract import clock
from supervisor.contract.exits import STATUS_UNKNOWN, Exit
from supervisor.contract.wire import messages as m
from supervisor.notices.notice import Notice
from supervisor.notices.watch import NoticeWatch
from supervisor.pool import status
from supervisor.pool.pool import Pool, is_sign_of_life
from supervisor.pool.rules.shutdown import GIVE_UP_WITHIN_S
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.processes import child_specs
from supervisor.processes.child import watch_without_pidfd
from supervisor.processes.effects import Effects
from supervisor.processes.oom_kills import OomEvidence
from supervisor.processes.orphan_reaper import is_ours_to_reap, reap_orphans
from supervisor.processes.relayed_output import pass_on
from supervisor.service import exit_words
from supervisor.service.crash_reporter import CrashReporter
from supervisor.service.pause_detector import PauseDetector
from supervisor.service.provisioning import Provisioner, own_policies
from supervisor.service.reload import Reload
from supervisor.service.state_dir import StateDir
from supervisor.service.status_file import CRASHES_SHOWN, StatusFile, facts_of
from supervisor.service.systemd import Notifier
from supervisor.service.systemd_status import SystemdStatus
from supervisor.settings.load import Loaded
from supervisor.settings.mistakes import SettingsWrong

log = logging.getLogger(__name__)

WAKE_MOST_S = 30.0  # loop timers stop while the machine sleeps; the host clock does not
SECOND_STOP_S = 5.0


class Service:
    """One running supervisor: from `run` to the exit code."""

    def __init__(
        self,
        loaded: Loaded,
        state: StateDir,
        environ: Mapping[str, str],
        make_worker: child_specs.MakeWorker = child_specs.worker,
    ) -> None:
        self._reload = Reload(loaded, environ)
        self.state = state
        own = loaded.settings
        self.pool = Pool(own.queue.read_ahead, own.supervisor.loading_most, own.supervisor.nothing_ready_s)
        self.started_at_s = clock.now_s()
        self.systemd_status = SystemdStatus(Notifier(environ), self.pool, self._summary)
        self._environ = environ
        self._make_worker = make_worker
        self._events: deque[ev.PoolEvent] = deque()
        self._busy = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._pause_detector = PauseDetector(self._on_pulse)
        self._is_after_due = False
        self._status_file = StatusFile(state, self.status, self._on_state_lost)
        self.crash_reporter = CrashReporter(state.path, self.device_status)
        self._oom = OomEvidence()

    @property
    def loaded(self) -> Loaded:
        """The settings in force."""
        return self._reload.loaded

    async def run(self) -> Exit:
        """Run until stopped; return the exit code."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ev.EndProcess] = self._loop.create_future()
        self.effects = Effects(self, self.post)
        self.provisioner = Provisioner(
            self.loaded.settings, self._environ, self.pool, self.effects, self._make_worker
        )
        self.notices = NoticeWatch(
            self.loaded.settings, {**self.loaded.aws_environment, **self._environ}, self
        )
        watch_without_pidfd(self._loop, self._reap_all)
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self.stop, signal.Signals(signum).name)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self.notices.start()
        self.effects.end_former_instance(self.state.path, self.state.write)
        self._create_own_slots()
        self.systemd_status.begin()
        self._pause_detector.begin()
        gc.freeze()  # modules and settings stay: scanning them again would only delay the loop
        end = await self._ended
        # All children have exited: a second SIGTERM must not replace the exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        self.notices.stop()
        self.crash_reporter.write()
        ended = {"state": "stopped", "exit_code": int(end.code), "reason": end.why}
        self._status_file.write(clock.now_s(), ended)
        log.info(
            "service stopped", extra={"event": "service-stopped", "reason": end.why, "code": int(end.code)}
        )
        return end.code

    def stop(self, why: str) -> None:
        """Finish or release all jobs, then end. A second call: now."""
        again = self.pool.mode is ev.Mode.STOPPING
        within_s = SECOND_STOP_S if again else self.loaded.settings.supervisor.drain_s
        log.info(
            "stopping",
            extra={"event": "service-stopping", "reason": why, "within_s": within_s, "at_once": again},
        )
        self.systemd_status.stopping()
        self.provisioner.stop_fetching()
        self.post(ev.Stop(clock.now_s() + within_s, f"stop ({why})"))

    def _on_state_lost(self) -> None:
        """End as failed: commands that use the state directory's path do not reach this service any more."""
        why = f"the state directory {self.state.path} was removed or replaced"
        log.error(
            "state directory lost",
            extra={"event": "state-directory-lost", "path": str(self.state.path), "reason": why},
        )
        self.systemd_status.stopping()
        self.provisioner.stop_fetching()
        self.post(ev.Stop(clock.now_s() + GIVE_UP_WITHIN_S, why, fails=True))

    def reload(self) -> str:
        """Read the settings again; restart workers one by one if that is enough. Returns what was done.

        Raises `SettingsWrong`; the settings in force stay in force then.
        """
        words = self._reload.read_again(self.provisioner)
        self.systemd_status.reloaded()
        self._loop.call_soon(self._after_events)
        return words

    def fetch_models_again(self) -> list[str]:
        """Retry the model fetches that were given up; return the models' names."""
        return self.provisioner.fetch_again()

    def post(self, event: ev.PoolEvent) -> None:
        """Let the pool decide on an event and carry out the actions before returning.

        Events posted meanwhile (by a start that answers at once) are queued. Log lines are written later:
        the replacement of a dead worker must not wait for the log and the crash record.
        """
        self._detect_pause()
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        words: list[Union[ev.Note, ev.Crashed]] = []
        try:
            while self._events:
                steps = self.pool.steps(self._events.popleft(), clock.now_s())
                for action in steps:
                    if isinstance(action, ev.EndProcess):
                        self._end(action)
                    elif isinstance(action, (ev.Crashed, ev.Note)):
                        words.append(action)
                    elif isinstance(action, ev.RefitWorker):
                        self.provisioner.refit(action.name)
                    else:
                        self.effects.carry_out(action)
        finally:
            self._busy = False
            if words:
                self._status_file.note_news()
                self.crash_reporter.take(words)
        if not self._is_after_due and not is_sign_of_life(event):
            self._is_after_due = True
            self._loop.call_soon(self._after_events)

    def _on_pulse(self) -> None:
        self._detect_pause()
        self._status_file.look_if_due(clock.now_s())

    def _detect_pause(self) -> None:
        """Detect a pause of this process before anything is decided by the clock."""
        lost_s = self._pause_detector.missed_s(clock.now_s())
        if lost_s:
            self.systemd_status.on_pause_over()
            self.post(ev.Paused(lost_s))

    def status(self) -> dict[str, Any]:
        """Return the status as `status --json` shows it."""
        now_s = clock.now_s()
        facts = facts_of(
            self.loaded.settings,
            started_at_s=self.started_at_s,
            now_s=now_s,
            pids=[child.pid for child in self.effects.children.values()],
            devices=self.provisioner.devices(),
            notice=self.notices.status(now_s),
            crashes=self.crash_reporter.newest(CRASHES_SHOWN),
            model_fetches=self.provisioner.model_fetches(),
        )
        return status.take(self.pool, facts)

    def _summary(self) -> dict[str, Any]:
        """Return the part of the status that `degraded.py` reads, at little cost."""
        wanted_device = self.loaded.settings.devices.device
        return status.summary(self.pool, clock.now_s(), self.started_at_s, wanted_device)

    def device_status(self, name: str) -> Optional[dict[str, Any]]:
        """Return a slot's device as last reported; None for slots without one."""
        return status.device(self.pool, self.provisioner.devices().get(name))

    # --- events of children (ChildListener) ----------------------------------------------------

    def on_message(self, name: str, message: m.Message) -> None:
        self.post(ev.MessageReceived(name, message))
        if isinstance(message, m.Devices):
            self.create_slots()
        elif isinstance(message, m.Xid):
            self.crash_reporter.join_xid(message.uuid, message.xid)

    def on_output(self, name: str, line: str) -> None:
        fetch = self.provisioner.fetches.get(name)
        if fetch is not None:
            before = fetch.percent
            fetch.hear(line)
            if fetch.percent != before:
                self.create_slots()
            return
        self.crash_reporter.last_words.hear(name, line, clock.now_s())
        pass_on(name, line)

    def on_broken_link(self, name: str, why: str) -> None:
        if name in self.pool.members:
            self.post(ev.SlotEvent(name, sl.Kill(why, fault=True)))

    def on_exit(self, name: str, returncode: int) -> None:
        self.effects.forget(name)
        if name in self.provisioner.fetches:
            self._fetch_ended(name, returncode)
            return
        lacked = self._oom.rose() if returncode in (-signal.SIGKILL, STATUS_UNKNOWN) else False
        words = exit_words.read(self.crash_reporter.last_words.of(self.pool.members[name].slot), returncode)
        self.post(ev.Died(name, returncode, self.effects.jitter_ratio(), lacked, words.said, words.cure))

    # --- events of the notice watch (NoticeListener) --------------------------------------

    def on_notice(self, notice: Notice) -> None:
        """The machine will be taken: drain in time. The service keeps running, drained."""
        self.post(ev.DrainSlots((), notice.deadline_at_s, notice.why))

    def on_resume(self, notice: Notice) -> None:
        """The machine is back from hibernation: accept jobs again, unless another reason stopped it."""
        is_the_cause = self.pool.why == notice.why
        log.info(
            "resumed after hibernation",
            extra={"event": "hibernation-ended", "at": notice.time or None, "takes_work": is_the_cause},
        )
        if is_the_cause:
            self.post(ev.Resume(()))

    def on_settled(self) -> None:
        self.create_slots()

    def on_trouble(self, text: str) -> None:
        self.pool.metadata_outage(text, clock.now_s())

    # --- inside ---------------------------------------------------------------------

    def _on_hangup(self) -> None:
        try:
            self.reload()
        except SettingsWrong as error:
            log.error(
                "invalid settings; the previous ones stay in effect",
                extra={"event": "reload-refused", "mistakes": str(error)},
            )

    def _create_own_slots(self) -> None:
        """Create and start the slots that always exist; fetch the model meanwhile."""
        own = self.loaded.settings
        self.effects.child_specs[ev.BROKER] = child_specs.broker(
            own, self._environ, self.loaded.aws_environment
        )
        self.effects.child_specs[ev.GPUWATCH] = child_specs.gpuwatch(own, self._environ)
        for name, policy in own_policies(own.queue.lease_s).items():
            self.pool.add(name, name, policy)
            self.post(ev.SlotEvent(name, sl.Begin()))
        self.provisioner.start_fetching()

    def create_slots(self) -> None:
        """Create and start the slots that should exist, or set the reason they wait for."""
        if not self.notices.settled:
            return  # this machine will be taken: no worker starts
        for event in self.provisioner.create_slots():
            self.post(event)

    def _fetch_ended(self, name: str, returncode: int) -> None:
        again_s = self.provisioner.fetches[name].ended(returncode)
        if self.pool.mode is ev.Mode.STOPPING:
            return
        if again_s is not None:
            self._loop.call_later(again_s, self.provisioner.start_fetching, name)
        elif self.provisioner.fetches[name].path:
            self._reload.roll(self.provisioner.apply_settings(self.loaded.settings))
            self._loop.call_soon(self._after_events)  # no other event may come for half a minute
        self.create_slots()

    def _step_reload(self) -> None:
        """Restart the next slot of a reload if the one before is ready again."""
        event = self._reload.step({w.slot.name: w.slot for w in self.pool.workers()}, self.provisioner)
        if event is not None:
            self.post(event)

    def _after_events(self) -> None:
        """Set the next timer, notify systemd and update the status file: once per turn of the loop."""
        self._is_after_due = False
        self._step_reload()
        if self._timer is not None:
            self._timer.cancel()
        now_s = clock.now_s()
        wake_at_s = self.pool.next_wake_s()
        wait_s = WAKE_MOST_S if wake_at_s is None else min(WAKE_MOST_S, max(0.0, wake_at_s - now_s))
        self._timer = self._loop.call_later(wait_s, self.post, ev.Due())
        self.systemd_status.tell()
        self._status_file.write_if_due(now_s)

    def _reap_all(self) -> None:
        self._reap_ours()
        if is_ours_to_reap():
            reap_orphans(lambda pid: pid in {child.pid for child in self.effects.everyone()}, self._reap_ours)

    def _reap_ours(self) -> None:
        for child in self.effects.everyone():
            child.reap()

    def _end(self, end: ev.EndProcess) -> None:
        if not self._ended.done():
            self._ended.set_result(end)
