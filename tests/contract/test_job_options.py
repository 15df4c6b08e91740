"""Options: a service's from its settings, a job's on top of them, mistakes by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Optional

import pytest

from supervisor.contract import job_options
from supervisor.contract.job_options import BadOption, Options, VadParameters
from supervisor.settings.schema import TranscriptionSettings, default_options


def test_profile_rem_is_rems_own_and_fast_differs_in_conditioning_and_windows_alone() -> None:
    rem, fast = job_options.of_profile("rem"), job_options.of_profile("fast")

    assert rem == Options()
    assert (rem.beam_size, rem.vad_filter, rem.vad_parameters.min_silence_duration_ms) == (5, True, 500)
    assert fast == replace(rem, condition_on_previous_text=False, window="auto")
    assert (rem.is_alone, fast.is_alone) == (True, False)


def test_settings_say_what_a_job_gets_that_asks_for_nothing() -> None:
    set_so = TranscriptionSettings(
        profile="fast",
        language="de",
        task="translate",
        beam_size=2,
        temperature=(0.0, 0.2),
        hotwords="Kubernetes",
        word_timestamps=True,
        vad_threshold=0.4,
        vad_min_silence_ms=300,
        vad_speech_pad_ms=100,
    )

    assert default_options(set_so) == Options(
        language="de",
        task="translate",
        beam_size=2,
        temperature=(0.0, 0.2),
        condition_on_previous_text=False,
        window="auto",
        hotwords="Kubernetes",
        word_timestamps=True,
        vad_parameters=VadParameters(0.4, 0, 0.0, 300, 100),
    )


@pytest.mark.parametrize("window", ["auto", "fit", "full"])
def test_profile_rem_has_full_windows_whatever_is_set(window: str) -> None:
    assert default_options(TranscriptionSettings(profile="fast", window=window)).window == window
    assert default_options(TranscriptionSettings(profile="rem", window=window)).window == "full"


@pytest.mark.parametrize(
    ("profile", "setting", "conditioned"),
    [("rem", "auto", True), ("fast", "auto", False), ("fast", "on", True), ("rem", "off", False)],
)
def test_conditioning_follows_the_profile_unless_it_is_set(
    profile: str, setting: str, conditioned: bool
) -> None:
    in_force = default_options(TranscriptionSettings(profile=profile, condition_on_previous_text=setting))

    assert in_force.condition_on_previous_text is conditioned


def test_default_settings_give_the_default_options_of_their_profile() -> None:
    settings = TranscriptionSettings()

    assert default_options(settings) == job_options.of_profile(settings.profile)


def test_job_changes_what_it_names_and_keeps_the_rest() -> None:
    asked = {"temperature": 0, "vad_parameters": {"threshold": 0.3}, "initial_prompt": "Dear all,"}

    found = job_options.changed(Options(beam_size=2), json.dumps(asked))

    assert found == Options(
        beam_size=2,
        temperature=(0.0,),
        vad_parameters=VadParameters(threshold=0.3),
        initial_prompt="Dear all,",
    )
    assert job_options.changed(found, "") is found


ODD: dict[str, Any] = {
    "options.beem_size": {"beem_size": 1},
    "options.beam_size": {"beam_size": 33},
    "options.task": {"task": "sing"},
    "options.language": {"language": "German"},
    "options.temperature": {"temperature": [0.0, 1.5]},
    "options.word_timestamps": {"word_timestamps": "yes"},
    "options.initial_prompt": {"initial_prompt": "a" * 2_001},
    "options.hotwords": {"hotwords": "a" * 1_001},
    "options.vad_parameters": {"vad_parameters": 3},
    "options.vad_parameters.threshold": {"vad_parameters": {"threshold": 1.0}},
    "options.vad_parameters.speech_pad_ms": {"vad_parameters": {"speech_pad_ms": -1}},
    "options.vad_parameters.max_speech_duration_s": {"vad_parameters": {"max_speech_duration_s": 0.5}},
}


@pytest.mark.parametrize(("name", "asked"), ODD.items(), ids=ODD.keys())
def test_option_that_makes_no_sense_is_named(name: str, asked: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as caught:
        job_options.changed(Options(), json.dumps(asked))

    assert str(caught.value).startswith(f"{name}:")


WORDS: dict[str, Any] = {
    "options.beam_size: must be an integer": {"beam_size": "one"},
    "options.temperature: must be a number or a list of numbers": {"temperature": "hot"},
    "options.vad_filter: must be true or false": {"vad_filter": 1},
    "options.hotwords: must be a string": {"hotwords": 3},
    "options.vad_parameters.threshold: must be a number": {"vad_parameters": {"threshold": "low"}},
    "options.language: 'german' is not a language of Whisper. Did you mean de?": {"language": "german"},
    "options.language: 'xx' is not a language of Whisper. Write a code such as en or de": {"language": "xx"},
    "options.hotwords: contains a lone surrogate, which is not a character": {"hotwords": "\ud83d"},
    "options.initial_prompt: contains <|endoftext|>, which Whisper reads as a control token": {
        "initial_prompt": "a <|endoftext|> b"
    },
}


@pytest.mark.parametrize(("words", "asked"), WORDS.items(), ids=WORDS.keys())
def test_mistake_is_told_in_words_for_people(words: str, asked: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as caught:
        job_options.changed(Options(), json.dumps(asked))

    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("prompt", "hotwords", "named"),
    [
        ("ü" * 900, "", None),
        ("", "ü" * 500, None),
        ("", "ü" * 501, "hotwords"),
        ("我" * 200, "我" * 200, None),
        ("我" * 201, "我" * 200, "initial_prompt"),
        ("word " * 180, "name, " * 150, "initial_prompt"),
    ],
)
def test_prompts_that_leave_no_room_for_the_text_are_refused_by_their_bytes(
    prompt: str, hotwords: str, named: Optional[str]
) -> None:
    """Both were legal one by one, and together took all the room that the model has: the text vanished."""
    wrong = [name for name, _ in job_options.mistakes(Options(initial_prompt=prompt, hotwords=hotwords))]

    assert wrong == ([named] if named else [])


@pytest.mark.parametrize("text", ["[]", "3", "{", '"en"', "[" * 100_000])
def test_options_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match="expected an object"):
        job_options.changed(Options(), text)
