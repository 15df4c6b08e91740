"""A folder with files of settings in it, and what `load` makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from supervisor.settings.load import Loaded, load_settings
from supervisor.settings.mistakes import SettingsWrong


class Folder:
    """A folder with config.toml and .env in it, and what `load` makes of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.dotenv = path / ".env"
        self.config.write_text("")

    def load(self, flags: Optional[dict[str, Any]] = None, **environ: str) -> Loaded:
        return load_settings(str(self.config), flags or {}, {"HOME": "/home/rem", **environ})

    def mistakes(self, flags: Optional[dict[str, Any]] = None, **environ: str) -> list[str]:
        with pytest.raises(SettingsWrong) as caught:
            self.load(flags, **environ)
        return [str(mistake).replace(f"{self.path}/", "") for mistake in caught.value.mistakes]
