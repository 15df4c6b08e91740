"""Validates that the chosen engine is installed. It is not imported, which takes seconds for some."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from supervisor.contract.engine.engines import ENGINES
from supervisor.settings.rules import Problem
from supervisor.settings.schema import Settings


def check_engine(settings: Settings, for_workers: bool = True) -> Iterator[Problem]:
    """Give the engine if its libraries are not installed, and what to install. `for_workers`: check it."""
    if not for_workers:
        return
    engine = settings.transcription.engine
    facts = ENGINES.get(engine)
    if facts is None or not facts.extra:  # an unknown name is reported by `rules.py`
        return
    try:
        metadata.version(facts.distribution)
    except metadata.PackageNotFoundError:
        what = f"{engine} needs the package {facts.distribution}, which is not installed"
        yield "transcription.engine", what, f"Run pip install -r requirements-{facts.extra}.txt"
