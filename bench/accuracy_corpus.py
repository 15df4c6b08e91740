"""Recordings of the accuracy benchmark: speech whose words are known, and sounds without any.

Single ones come from folders and packages. Joined ones are made here of trimmed pieces with silence
between them, up to a chosen length, so that it is known where speech begins and ends. The same files and
packages give the same recordings.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import accuracy_sounds as sounds
import engine_corpus
from accuracy_sources import Sources
from engine_corpus import RATE_HZ

JOINED_S = (3.0, 6.0, 10.0, 14.0, 22.0, 40.0)  # one for each class of lengths
GAP_S = 0.8  # longer than the pause at which voice detection cuts
FEWEST_WORDS = 4  # of a piece: single words say little about a language
SILENT, NOT_DETECTED = "nothing said", "nothing said, no voice detection"
SPOKEN = ("de", "es", "fr", "it")
HARD = ("cs", "nl")
_SHORT = ("1_5s", "3s", "5s")  # the board's clips that are pieces for joined ones


@dataclass(frozen=True)
class Recording:
    """One recording; `text` is empty where nothing is said."""

    name: str
    path: str
    length_s: float
    source: str
    language: str
    text: str = ""
    given: bool = False  # the language is an option, not detected
    with_vad: bool = True
    begins_s: tuple[float, ...] = ()  # of speech, where it is known
    ends_s: tuple[float, ...] = ()


@dataclass
class Builder:
    """Writes recordings into a folder."""

    folder: Path
    sources: Sources
    audio: Optional[Path]
    found: list[Recording] = field(default_factory=list)

    def add(self, source: str, language: str, path: Path, text: str) -> None:
        """Add a file as it is."""
        length_s = len(engine_corpus.decoded(path, self.folder)) / RATE_HZ
        name = f"{source}/{path.stem}"
        self.found.append(Recording(name, str(path), length_s, source, language, text))

    def join(
        self,
        source: str,
        language: str,
        pieces: Iterator[tuple[Any, str]],
        rounds: int,
        given: bool = False,
    ) -> None:
        """Join pieces, each used once, to recordings of each length, so many times."""
        for n in range(rounds * len(JOINED_S)):
            parts, texts, begins_s, ends_s = [], [], [], []
            at_s, least_s = 0.0, 0.7 * JOINED_S[n % len(JOINED_S)]
            for pcm, text in pieces:
                pcm = sounds.trimmed(pcm)
                parts += [pcm, sounds.silence(GAP_S)]
                texts.append(text)
                begins_s.append(at_s)
                ends_s.append(at_s + len(pcm) / RATE_HZ)
                at_s = ends_s[-1] + GAP_S
                if at_s >= least_s:
                    break
            else:
                return  # no pieces left
            name = f"{source}-{language}-{n:02}"
            path = engine_corpus.written(self.folder / f"{name}.wav", parts)
            ends = (tuple(begins_s), tuple(ends_s))
            self.found.append(
                Recording(name, path, at_s, source, language, " ".join(texts), given, True, *ends)
            )

    def silent(self) -> None:
        """Add sounds in which nothing is said, and a few of them without voice detection."""
        for kind, length_s, pcm in sounds.without_speech():
            name = f"{kind} {length_s:.0f} s"
            path = engine_corpus.written(self.folder / f"{name}.wav", [pcm])
            self.found.append(Recording(name, path, length_s, SILENT, "en"))
            if kind in sounds.TELLING and length_s == sounds.MIDDLE_S:
                one = Recording(f"{name}, not detected", path, length_s, NOT_DETECTED, "en", with_vad=False)
                self.found.append(one)


def recordings(folder: Path, sources: Sources, audio: Optional[Path]) -> list[Recording]:
    """Make and find all recordings; what is not there adds nothing, and a reason to `sources.reasons`."""
    builder = Builder(folder, sources, audio)
    for path, text in engine_corpus.known_ones(audio).items():
        builder.add("samples", "en", Path(path), text)
    _board(builder)
    for path, text in sources.novel():
        builder.add("novel", "en", path, text)
    for path, text, language in sources.sentences():
        builder.add("sentences", language, path, text)
    for language in SPOKEN:
        speaker = sources.speaker(language)
        if speaker is not None:
            texts = _shuffled(sources.texts(language).values())
            builder.join("spoken", language, ((speaker.say(text), text) for text in texts), rounds=2)
    for language in HARD:
        played = _shuffled(sources.played(language), key=lambda one: one[1])
        pieces = ((engine_corpus.decoded(path, folder), text) for path, text in played)
        builder.join("played", language, pieces, rounds=2, given=True)
    builder.silent()
    return builder.found


def _board(builder: Builder) -> None:
    table = builder.audio and builder.audio / "board" / "references.tsv"
    if not table or not table.exists():
        builder.sources.reasons.append("the board's clips: no folder of audio with board/references.tsv")
        return
    with table.open(encoding="utf-8", newline="") as file:
        rows = [
            (table.parent / row["file"], row["text"])
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    for path, text in rows:
        builder.add("board", "en", path, text)
    short = _shuffled([row for row in rows if row[0].name.startswith(_SHORT)], key=lambda one: one[1])
    pieces = ((engine_corpus.decoded(path, builder.folder), text) for path, text in short)
    builder.join("joined", "en", pieces, rounds=2)


def _shuffled(many: Iterable[Any], key: Any = lambda one: one) -> list[Any]:
    """Give those with enough words, in an order that is the same each time."""
    chosen = [one for one in many if len(key(one).split()) >= FEWEST_WORDS]
    random.Random(1).shuffle(chosen)
    return chosen


def sample(all_of_them: Sequence[Recording], share: float, seed: int) -> list[Recording]:
    """Draw a share of each source's recordings, at least one. A larger share holds all of a smaller one."""
    drawn: list[Recording] = []
    for source in sorted({one.source for one in all_of_them}):
        its = [one for one in all_of_them if one.source == source]
        random.Random(f"{seed} {source}").shuffle(its)
        drawn += its[: max(1, round(share * len(its)))]
    return drawn
