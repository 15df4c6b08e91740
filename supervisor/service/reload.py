"""`reload`: reads the settings again and restarts workers one after the other."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Optional

from supervisor.contract import clock
from supervisor.pool.rolling_reload import RollingReload
from supervisor.pool.state.events import PoolEvent
from supervisor.pool.state.slot_types import Slot
from supervisor.service.provisioning import Provisioner
from supervisor.settings.load import Loaded, load_settings
from supervisor.settings.reloadable import ROLLED, changed_keys, with_rolled

log = logging.getLogger(__name__)


class Reload:
    """The settings in force, and the rolling restart of slots with older ones."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        self.loaded = loaded
        self._environ = environ
        self._roll = RollingReload()

    def read_again(self, provisioner: Provisioner) -> str:
        """Read the settings again; restart workers one by one if that is enough. Returns what was done.

        Raises `SettingsWrong`; the settings in force stay in force then.
        """
        fresh = load_settings(self.loaded.config, self.loaded.flags, self._environ)
        keys = changed_keys(self.loaded.settings, fresh.settings)
        late = [key for key in keys if key not in ROLLED]
        words = [f"only a restart of the service changes: {', '.join(late)}"] if late else []
        if len(late) < len(keys):
            words.insert(0, self._apply_settings(fresh, provisioner))
        asked_again = provisioner.fetch_again()  # after a new model has replaced the old one
        if asked_again:
            words.insert(0, f"looking for model {', '.join(asked_again)} again")
        log.info(
            "settings reloaded",
            extra={"event": "settings-reloaded", "changed": ", ".join(keys), "restart_for": ", ".join(late)},
        )
        return "; ".join(words or ["nothing has changed"])

    def roll(self, names: Iterable[str]) -> None:
        """Restart these slots, one after the other."""
        self._roll.begin(list(names))

    def step(self, slots: Mapping[str, Slot], provisioner: Provisioner) -> Optional[PoolEvent]:
        """Return the event that restarts the next slot if the one before is ready again."""
        if not self._roll.is_on:
            return None
        was = self._roll.failed
        name = self._roll.step(slots, clock.now_s())
        if self._roll.failed != was and self._roll.failed:
            log.error(
                "reload stopped at the first slot that failed",
                extra={"event": "reload-stopped", "reason": self._roll.failed},
            )
        if not name:
            return None
        return provisioner.restart_event(name, clock.now_s() + self.loaded.settings.supervisor.drain_s)

    def _apply_settings(self, fresh: Loaded, provisioner: Provisioner) -> str:
        """Apply new settings to workers; another model is fetched first."""
        merged = with_rolled(self.loaded.settings, fresh.settings)
        self.loaded = dataclasses.replace(fresh, settings=merged)
        if merged.transcription.model != provisioner.fetch.model:
            provisioner.fetch_model(merged)
            return (
                f"fetching model {merged.transcription.model}; then workers take it up, one after the other"
            )
        self.roll(provisioner.apply_settings(merged))
        return "workers take up the new settings, one after the other"
