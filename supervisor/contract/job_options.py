"""Options that determine the text of a transcript, and their validation. PURE.

The names are faster-whisper's. Settings contain the defaults of a service, and a message's `options` object
changes them for one job. An invalid option is rejected by name.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from supervisor.contract import codec
from supervisor.contract.bounds import bounded, broken_fields, one_of
from supervisor.contract.whisper_names import language_mistake

WINDOWS = ("auto", "fit", "full")
MAX_JSON_BYTES = 16_384
MAX_PROMPT_CHARS = 2_000
# Whisper's limits are in tokens, which only a model's tokenizer can count (`engine/whisper/prompts.py`).
# English prose has one token per 4.5 bytes, names and other scripts have more tokens: a text that exceeds
# these limits exceeds the model's, too.
MAX_HOTWORDS_BYTES = 1_000  # 223 tokens: the most that the engine puts before each window
MAX_PROMPTS_BYTES = 1_200  # of both together: they share the context with the window's text
MAX_TEMPERATURES = 10
_CONTROL_TOKEN = re.compile(r"<\|[^|<>]{1,30}\|>")
_EXPECTED: Mapping[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    Optional[str]: "a string",
    bool: "true or false",
    tuple[float, ...]: "a number or a list of numbers",
}


@dataclass(frozen=True)
class VadParameters:
    """Voice detection, as faster-whisper's `VadOptions`; the silence of half a second is REM's."""

    threshold: float = 0.5
    min_speech_duration_ms: int = bounded(0, 0, 60_000)
    max_speech_duration_s: float = 0.0  # 0: no limit
    min_silence_duration_ms: int = bounded(500, 0, 60_000)
    speech_pad_ms: int = bounded(400, 0, 60_000)


@dataclass(frozen=True)
class SharedOptions:
    """Options that [transcription] in config.toml has too: each is declared here, for jobs and settings."""

    task: str = one_of("transcribe", "translate")  # translate: into English
    beam_size: int = bounded(5, 1, 32)  # REM's
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # each is tried if the one before failed
    initial_prompt: str = ""
    hotwords: str = ""
    word_timestamps: bool = False
    split: str = one_of("auto", "off")  # parts of a long recording in parallel, unless it must run alone
    vad_filter: bool = True  # REM's


@dataclass(frozen=True)
class Options(SharedOptions):
    """One job's options. The defaults are REM's."""

    language: Optional[str] = None  # None: detected
    condition_on_previous_text: bool = True
    vad_parameters: VadParameters = field(default_factory=VadParameters)
    window: str = one_of(*WINDOWS, default="full")  # all 30 s; fit: the audio; auto: fit where measured

    @property
    def is_alone(self) -> bool:
        """True if windows have a prompt: prompts differ in length, so the job shares no call with others."""
        return self.condition_on_previous_text or bool(self.initial_prompt or self.hotwords)


class BadOption(ValueError):
    """An invalid option: its name (empty: the options as a whole), and what is valid."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"options{name and '.'}{name}: {what}")
        self.name = name
        self.what = what


def of_profile(profile: str) -> Options:
    """Return a profile's options: `rem` has REM's own, `fast` encodes less and has no earlier text."""
    if profile == "fast":
        return Options(condition_on_previous_text=False, window="auto")
    return Options()


def changed(defaults: Options, asked: str) -> Options:
    """Return `defaults` changed by a job's options, a JSON object or empty. Raises `BadOption`."""
    return merged(defaults, read(asked)) if asked else defaults


def read(asked: str) -> Mapping[str, Any]:
    """Parse a job's options from JSON. Raises `BadOption` if they are not an object."""
    try:
        plain = json.loads(asked)
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise BadOption("", 'expected an object such as {"language": "de"}')
    return plain


def merged(defaults: Options, asked: Mapping[str, Any]) -> Options:
    """Return `defaults` with the options in `asked` replaced. Raises `BadOption`."""
    given = dict(asked)
    vad = given.pop("vad_parameters", None)
    vad = {} if vad is None else vad
    if not isinstance(vad, dict):
        raise BadOption("vad_parameters", 'expected an object such as {"threshold": 0.5}')
    if not isinstance(given.get("temperature", []), list):
        given["temperature"] = [given["temperature"]]
    found = dataclasses.replace(
        defaults,
        **_typed(Options, given, ""),
        vad_parameters=dataclasses.replace(
            defaults.vad_parameters, **_typed(VadParameters, vad, "vad_parameters.")
        ),
    )
    for name, what in mistakes(found):
        raise BadOption(name, what)
    return dataclasses.replace(found, language=found.language or None)


def _typed(cls: type, asked: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return each value as its field in `cls` requires it. Raises `BadOption`."""
    kinds = codec.field_types(cls)
    values = {}
    for name, value in asked.items():
        if name not in kinds:
            raise BadOption(f"{prefix}{name[:60]}", f"unknown; known are {', '.join(kinds)}")
        if value is None and name != "language":
            continue  # not set; a null language, however, requests detection
        try:
            values[name] = codec.check_value(kinds[name], value)
        except codec.BadValue:
            raise BadOption(f"{prefix}{name}", f"must be {_EXPECTED[kinds[name]]}") from None
    return values


def mistakes(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the name of each invalid option and what is valid."""
    wrong = language_mistake(options.language or "en")
    if wrong is not None:
        yield "language", wrong
    for name, what, cure in broken_fields(options):
        yield name, f"{what}. {cure}"
    ladder = options.temperature
    if not 1 <= len(ladder) <= MAX_TEMPERATURES or not all(0.0 <= step <= 1.0 for step in ladder):
        yield "temperature", f"expected 1 to {MAX_TEMPERATURES} numbers between 0 and 1"
    yield from prompt_mistakes(options.initial_prompt, options.hotwords)
    for name, what in _vad_mistakes(options.vad_parameters):
        yield f"vad_parameters.{name}", what


def prompt_mistakes(initial_prompt: str, hotwords: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the prompts, as far as that can be checked without the model."""
    texts = {"initial_prompt": initial_prompt, "hotwords": hotwords}
    for name, text in texts.items():
        if not _is_unicode(text):
            yield name, "contains a lone surrogate, which is not a character"
        elif _CONTROL_TOKEN.search(text):
            yield name, f"contains {_CONTROL_TOKEN.findall(text)[0]}, which Whisper reads as a control token"
        elif len(text) > MAX_PROMPT_CHARS:
            yield name, f"has {len(text)} characters, must have at most {MAX_PROMPT_CHARS}"
    sizes = {name: len(text.encode("utf-8", "replace")) for name, text in texts.items()}
    if sizes["hotwords"] > MAX_HOTWORDS_BYTES:
        yield "hotwords", f"has {sizes['hotwords']} bytes, must have at most {MAX_HOTWORDS_BYTES}"
    elif all(sizes.values()) and sum(sizes.values()) > MAX_PROMPTS_BYTES:
        yield (
            "initial_prompt",
            f"has {sum(sizes.values())} bytes together with hotwords, must have at most {MAX_PROMPTS_BYTES}: "
            "the model would have no room for the text",
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _vad_mistakes(vad: VadParameters) -> Iterator[tuple[str, str]]:
    if not 0.0 < vad.threshold < 1.0:
        yield "threshold", f"{vad.threshold:g} is not between 0 and 1"
    for name, what, cure in broken_fields(vad):
        yield name, f"{what}. {cure}"
    if not (vad.max_speech_duration_s == 0 or 1.0 <= vad.max_speech_duration_s < math.inf):
        yield "max_speech_duration_s", f"{vad.max_speech_duration_s:g} is neither 0 (no limit) nor 1 or more"
