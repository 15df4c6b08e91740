"""Accuracy of each profile beside plain faster-whisper: words, repeated and invented text, ends of speech.

    python bench/accuracy.py [AUDIO] [--models tiny.en,base] [--only NAME] [--sample SHARE] [--write]
    python bench/accuracy.py --try 'greedy={"beam_size": 1}'

AUDIO is a folder of recordings with `references.tsv` and `board/references.tsv`; without it,
`REM_BENCH_AUDIO` or `shared/audio` beside the checkout. Packages with more speech, and the multilingual
model, are fetched once into `--cache`. `--check` ends with 1 where a program is worse than plain by more
than chance. README.md says what each column means.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

import accuracy_corpus  # noqa: E402
import accuracy_programs  # noqa: E402
import accuracy_table  # noqa: E402
import engine_corpus  # noqa: E402
import report  # noqa: E402
from accuracy_corpus import Recording  # noqa: E402
from accuracy_kept import Kept  # noqa: E402
from accuracy_sources import Sources  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rem-supervisor-bench"
ENGLISH_ONLY = ".en"

Heard = Mapping[str, Mapping[str, Any]]


def hear_all(
    model: Path, recordings: Sequence[Recording], folder: Path, asked: argparse.Namespace
) -> list[Heard]:
    """Let every program hear every recording; so many at once as there are processes."""
    table = accuracy_programs.programs(asked.tried)
    kept = Kept(asked.keep, model, {name: table[name] for name in asked.programs})
    listeners: queue.SimpleQueue[accuracy_programs.Listener] = queue.SimpleQueue()
    every = [
        accuracy_programs.Listener(model, folder, asked.tried)
        for _ in range(min(asked.jobs, len(recordings)))
    ]
    for one in every:
        listeners.put(one)

    def hear(recording: Recording) -> Heard:
        how = [recording.path, recording.language if recording.given else None, recording.with_vad]
        known = kept.known(how)
        wanted = [name for name in asked.programs if name not in known]
        if wanted:
            listener = listeners.get()
            try:
                fresh = listener.hear(wanted, *how)
            finally:
                listeners.put(listener)
            kept.keep(how, fresh)
            known.update(fresh)
        return {name: known[name] for name in asked.programs}

    try:
        with ThreadPoolExecutor(len(every)) as pool:
            # The longest first, so that no process is left alone with one at the end.
            order = sorted(range(len(recordings)), key=lambda n: -recordings[n].length_s)
            found = dict(zip(order, pool.map(lambda n: hear(recordings[n]), order)))
    finally:
        for one in every:
            one.close()
    return [found[n] for n in range(len(recordings))]


def measured(
    name: str, model: Path, recordings: Sequence[Recording], folder: Path, asked: argparse.Namespace
) -> tuple[str, list[str]]:
    """Measure one model: its part of the report, and where a program is worse than plain."""
    chosen = [one for one in recordings if one.language == "en" or not name.endswith(ENGLISH_ONLY)]
    if asked.sample < 1:
        chosen = accuracy_corpus.sample(chosen, asked.sample, asked.seed)
    heard = hear_all(model, chosen, folder, asked)
    scores = accuracy_table.scores(chosen, heard, asked.seed)
    text = accuracy_table.text(name, scores)
    print(text, flush=True)
    return text, [f"{name}: {line}" for line in accuracy_table.worse(scores)]


def model_folder(name: str, sources: Sources) -> Optional[Path]:
    """Find a model: a folder, the packaged tiny.en, or base put together from packages."""
    from workerproc.process import models

    if Path(name).is_dir():
        return Path(name)
    return sources.base_model() if name == "base" else models.packaged(name)


def _audio(asked: Optional[str]) -> Optional[Path]:
    folder = Path(asked or os.environ.get("REM_BENCH_AUDIO") or engine_corpus.HUMAN)
    return folder if folder.is_dir() else None


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="?", metavar="AUDIO")
    parser.add_argument("--models", default="tiny.en,base", help="names or folders")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a program, beside plain")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument(
        "--sample", type=float, default=1.0, metavar="SHARE", help="of each source's recordings"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes: one a core")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="of answers: only what is missing is heard")
    parser.add_argument("--offline", action="store_true", help="fetch nothing")
    parser.add_argument("--check", action="store_true", help="end with 1 where a program is worse than plain")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    asked = parser.parse_args(arguments)
    asked.tried = dict(one.partition("=")[::2] for one in asked.tries)
    known = list(accuracy_programs.programs(asked.tried))
    unknown = [name for name in asked.only if name not in known]
    if unknown:
        parser.error(f"--only {unknown[0]!r}: the programs are {', '.join(known)}")
    wanted = {accuracy_programs.PLAIN, *asked.only, *asked.tried} if asked.only else set(known)
    asked.programs = [name for name in known if name in wanted]
    return asked


def main(arguments: Sequence[str]) -> int:
    asked = _arguments(arguments)
    load_before = os.getloadavg()[0]
    sources = Sources(asked.cache, asked.offline)
    parts, worse = [], []
    with tempfile.TemporaryDirectory(prefix="rem-accuracy-") as name:
        recordings = accuracy_corpus.recordings(Path(name), sources, _audio(asked.audio))
        for model in asked.models.split(","):
            path = model_folder(model, sources)
            if path is None:
                sources.reasons.append(f"model {model}: neither a folder nor in a package that is here")
                continue
            part, lines = measured(model, path, recordings, Path(name), asked)
            parts.append(part)
            worse += lines
    skipped = [f"SKIPPED: {reason}" for reason in sources.reasons]
    print("\n".join([*skipped, *worse]))
    if asked.write:
        corpus = accuracy_table.corpus(recordings)
        report.write("accuracy", "\n\n".join([report.heading(load_before), corpus, *parts, *skipped]))
    return 1 if asked.check and worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
