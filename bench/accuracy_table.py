"""From what programs heard to the tables of the accuracy benchmark. PURE, but for the shape of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import scoring
from accuracy_corpus import Recording
from accuracy_programs import PLAIN
from report import table
from scoring import Errors, Interval

NEAR_END_S = 0.1  # a time stamp beyond a recording's end by less is rounding


@dataclass
class Score:
    """What one program made of all recordings."""

    errors: list[Errors] = field(default_factory=list)  # of recordings in which something is said
    repeated: list[str] = field(default_factory=list)  # names of recordings whose text goes round
    invented: int = 0  # words where nothing is said
    invented_without_vad: int = 0
    wrong_language: int = 0
    apart_s: list[float] = field(default_factory=list)  # known begins and ends of speech from those given
    beyond: int = 0  # segments that end after their recording
    windows: int = 0  # of 30 s, or those that fit the speech
    redone: int = 0  # of these, computed again at 30 s
    cpu_s: float = 0.0


@dataclass
class Scores:
    """What all programs made of them."""

    said: list[Recording]  # those with speech, in the order of each program's errors
    programs: dict[str, Score]
    rates: dict[str, Interval]
    differences: dict[str, Interval]


def scores(
    recordings: Sequence[Recording], heard: Sequence[Mapping[str, Mapping[str, Any]]], seed: int
) -> Scores:
    """Score what was heard, recording by recording."""
    programs = {name: Score() for name in heard[0]}
    for recording, answers in zip(recordings, heard):
        for name, answer in answers.items():
            _add(programs[name], recording, answer)
    rates, differences = scoring.intervals({n: one.errors for n, one in programs.items()}, PLAIN, seed)
    return Scores([one for one in recordings if one.text], programs, rates, differences)


def _add(score: Score, recording: Recording, answer: Mapping[str, Any]) -> None:
    said = scoring.words(recording.text, recording.language)
    heard = scoring.words(answer["text"], recording.language)
    score.cpu_s += answer["cpu_s"]
    windows = answer.get("windows", {})
    score.redone += sum(count for name, count in windows.items() if name.startswith("redone_"))
    score.windows += sum(windows.values())
    score.beyond += sum(end_s > recording.length_s + NEAR_END_S for end_s in answer["ends_s"])
    if scoring.repeats(heard) and not scoring.repeats(said):
        score.repeated.append(recording.name)
    if not recording.text:
        score.invented += len(heard) if recording.with_vad else 0
        score.invented_without_vad += 0 if recording.with_vad else len(heard)
        return
    score.errors.append(scoring.errors(said, heard))
    score.wrong_language += answer["language"] != recording.language
    score.apart_s += scoring.distances(recording.begins_s, answer["begins_s"])
    score.apart_s += scoring.distances(recording.ends_s, answer["ends_s"])


# Of all words. The same words are sure to be wrong on no two machines: BLAS kernels change single ones.
TOLERATED = 0.003


def worse(scores: Scores) -> list[str]:
    """Say where a program is worse than plain: words by more than chance, or text that plain doesn't make."""
    plain = scores.programs[PLAIN]
    found = []
    for name, score in scores.programs.items():
        difference = scores.differences[name]
        if difference.low > TOLERATED:
            found.append(f"{name}: word error rate {_points(difference)} points against plain")
        loops = sorted(set(score.repeated) - set(plain.repeated))
        if loops:
            found.append(f"{name}: repeated text that plain does not make, in {', '.join(loops)}")
        if score.invented > plain.invented:
            found.append(f"{name}: {score.invented} words where nothing is said, plain {plain.invented}")
    return found


def text(model: str, scores: Scores) -> str:
    """Give one model's part of the report."""
    words = scoring.total(scores.programs[PLAIN].errors).words
    minutes = sum(one.cpu_s for one in scores.programs.values()) / 60
    head = (
        f"### {model}: {words:,} words, {len(scores.said)} recordings with speech; "
        f"{minutes:.1f} minutes of CPU time for all programs"
    )
    lengths = _by(scores, lambda one: scoring.length_class(one.length_s), scoring.CLASS_NAMES)
    tables = [_programs(scores), "By length, % of words wrong (words said):", lengths]
    languages = sorted({_voice(one) for one in scores.said})
    if len(languages) > 1:
        tables += ["By source and language:", _by(scores, _voice, languages)]
    return "\n\n".join([head, *tables])


def _programs(scores: Scores) -> str:
    plain = scores.programs[PLAIN]
    rows = [
        (
            *("program", "word error rate % (95 %)", "against plain, points (95 %)", "sub.", "del.", "ins."),
            *("repeated", "invented", "invented without voice detection", "wrong language"),
            *("ends apart s: median, 90 %", "beyond the end", "windows redone", "CPU time"),
        )
    ]
    for name, score in scores.programs.items():
        sums = scoring.total(score.errors)
        rate = scores.rates[name]
        middle, most = scoring.quantile(score.apart_s, 0.5), scoring.quantile(score.apart_s, 0.9)
        rows.append(
            (
                name,
                f"{rate.value:.2%} ({rate.low:.2%} to {rate.high:.2%})".replace("%", ""),
                "" if name == PLAIN else _points(scores.differences[name]),
                *map(str, (sums.substituted, sums.deleted, sums.inserted)),
                *map(str, (len(score.repeated), score.invented, score.invented_without_vad)),
                str(score.wrong_language),
                f"{_seconds(middle)}, {_seconds(most)}",
                str(score.beyond),
                f"{score.redone} of {score.windows}" if score.windows else "",
                f"{score.cpu_s / plain.cpu_s:.2f}" if plain.cpu_s else "",
            )
        )
    return table(rows)


def _by(scores: Scores, key: Any, names: Sequence[str]) -> str:
    """Give a table with one column for each of the names that has recordings."""
    groups = {name: [n for n, one in enumerate(scores.said) if key(one) == name] for name in names}
    groups = {name: its for name, its in groups.items() if its}
    words = {n: sum(scores.programs[PLAIN].errors[k].words for k in its) for n, its in groups.items()}
    rows = [["program", *(f"{name} ({words[name]:,})" for name in groups)]]
    for program, score in scores.programs.items():
        totals = (scoring.total([score.errors[n] for n in its]) for its in groups.values())
        rows.append([program, *(f"{one.rate * 100:.2f}" for one in totals)])
    return table(rows)


def corpus(recordings: Sequence[Recording]) -> str:
    """Give a table of what was heard: each source with its languages, recordings, words and minutes."""
    rows = [("source", "languages", "recordings", "words", "minutes")]
    for source in dict.fromkeys(one.source for one in recordings):
        its = [one for one in recordings if one.source == source]
        languages = sorted({one.language for one in its if one.text})
        said = sum(len(scoring.words(one.text, one.language)) for one in its)
        minutes = sum(one.length_s for one in its) / 60
        rows.append((source, ", ".join(languages), str(len(its)), f"{said:,}", f"{minutes:.1f}"))
    return table(rows)


def _voice(one: Recording) -> str:
    return f"{one.source} {one.language}"


def _points(one: Interval) -> str:
    return f"{one.value * 100:+.2f} ({one.low * 100:+.2f} to {one.high * 100:+.2f})"


def _seconds(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.2f}"
