"""Scores of an accuracy benchmark: word errors, repeated text, ends of speech, and how sure they are. PURE.

Text is compared as words: lower case, without punctuation, in Unicode's compatibility form. Apostrophes
vanish (`don't` is one word), hyphens and all other signs separate. A number counts digit by digit: `10`,
`1-0` and the language's own word for ten are the same two words. Chinese characters and kana are one word
each. Both sides are treated alike, so a rule that is too coarse is too coarse for every program.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

# From 0 on, for each language; English goes to 12, and has tens. Other spellings after |.
_NUMBER_WORDS: Mapping[str, str] = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn",
    "nl": "nul een|één twee drie vier vijf zes zeven acht negen tien",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez",
    "pl": "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć",
    "cs": "nula jedna|jeden dva|dvě tři čtyři pět šest sedm osm devět deset",
    "hi": "शून्य एक दो तीन चार पांच|पाँच छह|छः सात आठ नौ दस",
    "zh": "零 一 二 三 四 五 六 七 八 九 十",
    "ja": "零 一 二 三 四 五 六 七 八 九 十",
}
_NUMBERS: dict[str, dict[str, str]] = {
    language: {spelt: str(n) for n, word in enumerate(spoken.split()) for spelt in word.split("|")}
    for language, spoken in _NUMBER_WORDS.items()
}
_NUMBERS["en"].update({ten: str(n * 10) for n, ten in enumerate(["twenty", "thirty", "forty", "fifty"], 2)})
_ALONE = (("぀", "ヿ"), ("㐀", "䶿"), ("一", "鿿"))  # kana and Chinese characters
_APOSTROPHES = "'’ʼ`´"

CLASSES_S = (4.0, 8.0, 12.0, 16.0, 29.0)
CLASS_NAMES = ("0 to 4 s", "4 to 8 s", "8 to 12 s", "12 to 16 s", "16 to 29 s", "longer")
REPEATED_WORDS, REPEATED_TIMES = 3, 3
_SURE = 0.95


@dataclass(frozen=True)
class Errors:
    """Word errors of a recording or of many; `words` were said."""

    words: int = 0
    substituted: int = 0
    deleted: int = 0
    inserted: int = 0

    @property
    def count(self) -> int:
        return self.substituted + self.deleted + self.inserted

    @property
    def rate(self) -> float:
        """Errors of all words that were said; 0 where none were."""
        return self.count / self.words if self.words else 0.0


@dataclass(frozen=True)
class Interval:
    """A value, and what lies within its 95 % by bootstrap."""

    value: float
    low: float
    high: float


def words(text: str, language: str = "en") -> list[str]:
    """Give a text's words in the form in which they are compared."""
    plain = unicodedata.normalize("NFKC", text).lower()
    plain = "".join(map(_spaced, (one for one in plain if one not in _APOSTROPHES)))
    numbers = _NUMBERS.get(language, {})
    found: list[str] = []
    for word in plain.split():
        number = numbers.get(word, word)
        found += list(number) if number.isdecimal() else [number]
    return found


def _spaced(one: str) -> str:
    """Give a letter, mark or digit as it is, a character that is a word with room around it, else a space."""
    if any(first <= one <= last for first, last in _ALONE):
        return f" {one} "
    return one if unicodedata.category(one)[0] in "LMN" else " "


def errors(said: Sequence[str], heard: Sequence[str]) -> Errors:
    """Count the fewest substitutions, deletions and insertions that make `heard` of `said`."""
    row = [(n, 0, 0, n) for n in range(len(heard) + 1)]  # all, substituted, deleted, inserted
    for word in said:
        before, row[0] = row[0], _plus(row[0], 0, 1, 0)
        for k, its in enumerate(heard, 1):
            best = min(
                before if word == its else _plus(before, 1, 0, 0),
                _plus(row[k], 0, 1, 0),
                _plus(row[k - 1], 0, 0, 1),
            )
            before, row[k] = row[k], best
    _, substituted, deleted, inserted = row[-1]
    return Errors(len(said), substituted, deleted, inserted)


def _plus(path: tuple[int, int, int, int], *more: int) -> tuple[int, int, int, int]:
    return (path[0] + 1, path[1] + more[0], path[2] + more[1], path[3] + more[2])


def total(many: Sequence[Errors]) -> Errors:
    """Add errors up."""
    return Errors(
        sum(one.words for one in many),
        sum(one.substituted for one in many),
        sum(one.deleted for one in many),
        sum(one.inserted for one in many),
    )


def repeats(heard: Sequence[str]) -> bool:
    """Say whether the same three or more words stand three or more times one after the other."""
    for length in range(REPEATED_WORDS, len(heard) // REPEATED_TIMES + 1):
        same = 0  # words that equal the one `length` before
        for n in range(length, len(heard)):
            same = same + 1 if heard[n] == heard[n - length] else 0
            if same == length * (REPEATED_TIMES - 1):
                return True
    return False


def length_class(length_s: float) -> str:
    """Name the class of a recording's length."""
    return CLASS_NAMES[sum(length_s >= limit for limit in CLASSES_S)]


def distances(known_s: Sequence[float], found_s: Sequence[float]) -> list[float]:
    """Give for each known moment the distance to the nearest that was found; nothing where none was."""
    return [min(abs(one - other) for other in found_s) for one in known_s] if found_s else []


def quantile(values: Sequence[float], share: float) -> Optional[float]:
    """Give the value below which this share of all lies; None where there are none."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else None


def intervals(
    counted: Mapping[str, Sequence[Errors]], against: str, seed: int, rounds: int = 2000
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Give each program's error rate, and its difference from that of `against`, with their intervals.

    Each round draws as many recordings as there are, the same for all programs, so that the difference
    has an interval of its own, which is narrower than those of both rates.
    """
    chance = random.Random(seed)
    recordings = range(len(counted[against]))
    drawn: dict[str, list[float]] = {name: [] for name in counted}
    for _ in range(rounds):
        sample = chance.choices(recordings, k=len(recordings)) if recordings else []
        for name, many in counted.items():
            said = sum(many[n].words for n in sample)
            drawn[name].append(sum(many[n].count for n in sample) / said if said else 0.0)
    whole = {name: total(many).rate for name, many in counted.items()}
    rates = {name: _interval(whole[name], drawn[name]) for name in counted}
    differences = {
        name: _interval(
            whole[name] - whole[against], [one - other for one, other in zip(drawn[name], drawn[against])]
        )
        for name in counted
    }
    return rates, differences


def _interval(value: float, drawn: Sequence[float]) -> Interval:
    low, high = quantile(drawn, (1 - _SURE) / 2), quantile(drawn, (1 + _SURE) / 2)
    return Interval(value, value if low is None else low, value if high is None else high)
