"""The one place that waits: events in, decisions by the pool, effects out.

Children's messages, their ends, signals, timers and requests of people all become events
of the pool. Its actions are carried out at once and in order; none of them waits. What the pool
does not decide, which slots should exist and whether the model is here, is decided by `crew.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import signal
from collections import deque
from collections.abc import Mapping
from typing import Any, Optional, Union

from supervisor import last_words, recipes, snapshot, status_facts, survivors
from supervisor import pool as pl
from supervisor import slot as sl
from supervisor.announce import Announcer
from supervisor.child import watch_without_pidfd
from supervisor.chronicle import Chronicle
from supervisor.contract import clock
from supervisor.contract import messages as m
from supervisor.contract.exits import STATUS_UNKNOWN, Exit
from supervisor.contract.settings import Loaded, load_settings
from supervisor.contract.settings_mistakes import SettingsWrong
from supervisor.crew import Crew, own_policies
from supervisor.effects import Effects
from supervisor.ending import GIVE_UP_WITHIN_S
from supervisor.notice import Notice
from supervisor.notices import Notices
from supervisor.oom import OomEvidence
from supervisor.printed import pass_on
from supervisor.pulse import Pulse
from supervisor.roll import ROLLED, Roll, changed_keys, with_rolled
from supervisor.state_dir import StateDir
from supervisor.status_file import StatusFile
from supervisor.strangers import is_ours_to_reap, reap_strangers
from supervisor.systemd import Notifier

log = logging.getLogger(__name__)

WAKE_MOST_S = 30.0  # loop timers stand still while the machine sleeps; the host clock does not
SECOND_STOP_S = 5.0
BROKER_LEAVES_S = 3.0  # one whose supervisor died gives everything back within two


class Service:
    """One supervisor at work: from `run` to the exit code."""

    def __init__(
        self,
        loaded: Loaded,
        state: StateDir,
        environ: Mapping[str, str],
        make_worker: recipes.MakeWorker = recipes.worker,
    ) -> None:
        self.loaded = loaded
        self.state = state
        own = loaded.settings
        self.pool = pl.Pool(own.queue.read_ahead, own.supervisor.loading_most, own.supervisor.nothing_ready_s)
        self.started_at_s = clock.now_s()
        self.announcer = Announcer(Notifier(environ), self.pool, self._gist)
        self._environ = environ
        self._make_worker = make_worker
        self._roll = Roll()
        self._events: deque[pl.PoolEvent] = deque()
        self._busy = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._pulse = Pulse(self._on_pulse)
        self._is_after_due = False
        self._status_file = StatusFile(state, self.picture, self._on_state_lost)
        self.chronicle = Chronicle(state.path, self.picture_of_device)
        self._oom = OomEvidence()

    async def run(self) -> Exit:
        """Work until told to stop; give the exit code."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[pl.EndProcess] = self._loop.create_future()
        self.effects = Effects(self, self.post)
        self.crew = Crew(self.loaded.settings, self._environ, self.pool, self.effects, self._make_worker)
        self.notices = Notices(self.loaded.settings, {**self.loaded.aws_environment, **self._environ}, self)
        watch_without_pidfd(self._loop, self._reap_all)
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self.stop, signal.Signals(signum).name)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self.notices.start()
        self._end_former_life()
        self._hire()
        self.announcer.begin()
        self._pulse.begin()
        gc.freeze()  # modules and settings stay: looking through them again would only hold the loop up
        end = await self._ended
        # All is ended well: an impatient second SIGTERM must not turn the exit code into its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        self.notices.stop()
        self.chronicle.say()
        ended = {"state": "stopped", "exit_code": int(end.code), "reason": end.why}
        self._status_file.write(clock.now_s(), ended)
        log.info("service stopped", extra={"reason": end.why, "code": int(end.code)})
        return end.code

    def stop(self, why: str) -> None:
        """Finish or give back everything, then end. A second call: now."""
        again = self.pool.mode is pl.Mode.STOPPING
        within_s = SECOND_STOP_S if again else self.loaded.settings.supervisor.drain_s
        log.info("stopping", extra={"reason": why, "within_s": within_s, "at_once": again})
        self.announcer.stopping()
        self.crew.stop_fetching()
        self.post(pl.Stop(clock.now_s() + within_s, f"stop ({why})"))

    def _on_state_lost(self) -> None:
        """End as failed: whoever uses the state directory's path now does not reach this service."""
        why = f"the state directory {self.state.path} was removed or replaced"
        log.error("state directory lost", extra={"path": str(self.state.path), "reason": why})
        self.announcer.stopping()
        self.crew.stop_fetching()
        self.post(pl.Stop(clock.now_s() + GIVE_UP_WITHIN_S, why, fails=True))

    def reload(self) -> str:
        """Read the settings again; roll the workers where that is enough. Says what was done.

        Raises `SettingsWrong`; the settings in force stay in force then.
        """
        fresh = load_settings(self.loaded.config, self.loaded.flags, self._environ)
        keys = changed_keys(self.loaded.settings, fresh.settings)
        late = [key for key in keys if key not in ROLLED]
        words = [f"only a restart of the service changes: {', '.join(late)}"] if late else []
        if len(late) < len(keys):
            words.insert(0, self._take_up(fresh))
        asked_again = self.crew.fetch_again()  # after a new model has taken the place of the old one
        if asked_again:
            words.insert(0, f"looking for model {', '.join(asked_again)} again")
        words = words or ["nothing has changed"]
        self.announcer.reloaded()
        log.info("settings read again", extra={"changed": ", ".join(keys), "restart_for": ", ".join(late)})
        self._loop.call_soon(self._after_events)
        return "; ".join(words)

    def fetch_models_again(self) -> list[str]:
        """Look again for the models that were given up; give their names."""
        return self.crew.fetch_again()

    def _take_up(self, fresh: Loaded) -> str:
        """Let workers take up what they can of new settings; another model is fetched first."""
        merged = with_rolled(self.loaded.settings, fresh.settings)
        self.loaded = dataclasses.replace(fresh, settings=merged)
        if merged.transcription.model != self.crew.fetch.model:
            self.crew.look_for(merged.transcription.model)
            return (
                f"fetching model {merged.transcription.model}; then workers take it up, one after the other"
            )
        self._roll.begin(self.crew.take_up(merged))
        return "workers take up the new settings, one after the other"

    def post(self, event: pl.PoolEvent) -> None:
        """Let the pool decide on an event and carry the actions out, all before returning.

        Events that come up meanwhile (a start that answers at once) wait their turn. Words come later:
        a dead worker's heir must not wait for the log and the crash record.
        """
        self._look_for_pause()
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        words: list[Union[pl.Note, pl.Crashed]] = []
        try:
            while self._events:
                steps = self.pool.steps(self._events.popleft(), clock.now_s())
                for action in steps:
                    if isinstance(action, pl.EndProcess):
                        self._end(action)
                    elif isinstance(action, (pl.Crashed, pl.Note)):
                        words.append(action)
                    elif isinstance(action, pl.RefitWorker):
                        self.crew.refit(action.name)
                    else:
                        self.effects.carry_out(action)
        finally:
            self._busy = False
            if words:
                self._status_file.note_news()
                self.chronicle.take(words)
        if not self._is_after_due and not pl.is_mere_sign(event):
            self._is_after_due = True
            self._loop.call_soon(self._after_events)

    def _on_pulse(self) -> None:
        self._look_for_pause()
        self._status_file.look_if_due(clock.now_s())

    def _look_for_pause(self) -> None:
        """Before anything is decided by the clock: did this process run all the time?"""
        lost_s = self._pulse.missed_s(clock.now_s())
        if lost_s:
            self.announcer.woke()
            self.post(pl.Paused(lost_s))

    def picture(self) -> dict[str, Any]:
        """Give the status as `status --json` shows it."""
        now_s = clock.now_s()
        facts = status_facts.facts_of(
            self.loaded.settings,
            started_at_s=self.started_at_s,
            now_s=now_s,
            pids=[child.pid for child in self.effects.children.values()],
            devices=self.crew.devices(),
            notice=self.notices.picture(now_s),
            crashes=self.chronicle.newest(status_facts.CRASHES_SHOWN),
        )
        return snapshot.take(self.pool, facts)

    def _gist(self) -> dict[str, Any]:
        """Give what `degraded.py` judges, at little cost."""
        wanted_device = self.loaded.settings.devices.device
        return snapshot.gist(self.pool, clock.now_s(), self.started_at_s, wanted_device)

    def picture_of_device(self, name: str) -> Optional[dict[str, Any]]:
        """Give a slot's device as last told; None for slots without one."""
        return snapshot.device(self.pool, self.crew.devices().get(name))

    # --- what children do (Ears) ----------------------------------------------------

    def heard(self, name: str, message: m.Message) -> None:
        self.post(pl.Heard(name, message))
        if isinstance(message, m.Devices):
            self.staff()
        elif isinstance(message, m.Xid):
            self.chronicle.join_xid(message.uuid, message.xid)

    def printed(self, name: str, line: str) -> None:
        fetch = self.crew.fetches.get(name)
        if fetch is not None:
            before = fetch.percent
            fetch.hear(line)
            if fetch.percent != before:
                self.staff()
            return
        self.chronicle.last_words.hear(name, line, clock.now_s())
        pass_on(name, line)

    def broke(self, name: str, why: str) -> None:
        if name in self.pool.members:
            self.post(pl.SlotEvent(name, sl.Kill(why, fault=True)))

    def died(self, name: str, returncode: int) -> None:
        self.effects.forget(name)
        if name in self.crew.fetches:
            self._fetch_ended(name, returncode)
            return
        lacked = self._oom.rose() if returncode in (-signal.SIGKILL, STATUS_UNKNOWN) else False
        words = last_words.read(self.chronicle.last_words.of(self.pool.members[name].slot), returncode)
        self.post(pl.Died(name, returncode, self.effects.jitter_ratio(), lacked, words.said, words.cure))

    # --- what the metadata service tells (Hears) --------------------------------------

    def noticed(self, notice: Notice) -> None:
        """The machine will be taken: finish or give back in time, then rest. The process stays."""
        self.post(pl.DrainSlots((), notice.deadline_at_s, notice.why))

    def awoke(self, notice: Notice) -> None:
        """Back from hibernation: take work again, unless something else stopped it."""
        is_the_cause = self.pool.why == notice.why
        log.info("back from hibernation", extra={"at": notice.time or None, "takes_work": is_the_cause})
        if is_the_cause:
            self.post(pl.Resume(()))

    def notices_settled(self) -> None:
        self.staff()

    def notices_in_trouble(self, text: str) -> None:
        self.pool.metadata_outage(text, clock.now_s())

    # --- inside ---------------------------------------------------------------------

    def _on_hangup(self) -> None:
        try:
            self.reload()
        except SettingsWrong as error:
            log.error("settings are wrong, the old ones stay in force", extra={"mistakes": str(error)})

    def _end_former_life(self) -> None:
        """End what the last supervisor on this state directory left; its broker has time to give back."""
        former = survivors.former_life(self.state.path)
        self.effects.end_survivors(former, spared=pl.BROKER)
        self._loop.call_later(BROKER_LEAVES_S, self.effects.end_survivors, former)
        try:
            self.state.write(survivors.LIFE_FILE, {"life": self.effects.life})
        except OSError as error:
            log.warning("the next start won't know what we leave", extra={"reason": str(error)})

    def _hire(self) -> None:
        """Make the slots that always exist and start them; fetch the model meanwhile."""
        own = self.loaded.settings
        self.effects.recipes[pl.BROKER] = recipes.broker(own, self._environ, self.loaded.aws_environment)
        self.effects.recipes[pl.GPUWATCH] = recipes.gpuwatch(own, self._environ)
        for name, policy in own_policies(own.queue.lease_s).items():
            self.pool.add(name, name, policy)
            self.post(pl.SlotEvent(name, sl.Begin()))
        self.crew.start_fetching()

    def staff(self) -> None:
        """Bring the slots that should exist to life, or say what they wait for."""
        if not self.notices.settled:
            return  # a doomed machine begins no work
        for event in self.crew.staff():
            self.post(event)

    def _fetch_ended(self, name: str, returncode: int) -> None:
        again_s = self.crew.fetches[name].ended(returncode)
        if self.pool.mode is pl.Mode.STOPPING:
            return
        if again_s is not None:
            self._loop.call_later(again_s, self.crew.start_fetching, name)
        elif self.crew.fetches[name].path:
            self._roll.begin(self.crew.take_up(self.loaded.settings))
            self._loop.call_soon(self._after_events)  # nothing else may happen for half a minute
        self.staff()

    def _step_roll(self) -> None:
        """Restart the next slot of a reload, if the one before is ready again."""
        if not self._roll.is_on:
            return
        was = self._roll.failed
        slots = {member.slot.name: member.slot for member in self.pool.workers()}
        name = self._roll.step(slots, clock.now_s())
        if self._roll.failed != was and self._roll.failed:
            log.error("reload stopped at the first failure", extra={"reason": self._roll.failed})
        if name:
            by_s = clock.now_s() + self.loaded.settings.supervisor.drain_s
            self.post(self.crew.renewal(name, by_s))

    def _after_events(self) -> None:
        """Set the next timer, tell systemd, keep the written status fresh: once a turn of the loop."""
        self._is_after_due = False
        self._step_roll()
        if self._timer is not None:
            self._timer.cancel()
        now_s = clock.now_s()
        wake_at_s = self.pool.next_wake_s()
        wait_s = WAKE_MOST_S if wake_at_s is None else min(WAKE_MOST_S, max(0.0, wake_at_s - now_s))
        self._timer = self._loop.call_later(wait_s, self.post, pl.Due())
        self.announcer.tell()
        self._status_file.write_if_due(now_s)

    def _reap_all(self) -> None:
        self._reap_ours()
        if is_ours_to_reap():
            reap_strangers(
                lambda pid: pid in {child.pid for child in self.effects.everyone()}, self._reap_ours
            )

    def _reap_ours(self) -> None:
        for child in self.effects.everyone():
            child.reap()

    def _end(self, end: pl.EndProcess) -> None:
        if not self._ended.done():
            self._ended.set_result(end)
