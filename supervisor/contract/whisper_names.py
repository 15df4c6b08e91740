"""Names of the models and languages that faster-whisper knows, and hints for other names. PURE.

Copied here because the supervisor and the broker never import faster-whisper; a test compares the copies with
faster-whisper's own lists. Source: faster-whisper 1.2.1, utils.py and tokenizer.py; the languages' English
names are those of OpenAI's tokenizer.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

MODELS: Mapping[str, str] = {
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "tiny": "Systran/faster-whisper-tiny",
    "base.en": "Systran/faster-whisper-base.en",
    "base": "Systran/faster-whisper-base",
    "small.en": "Systran/faster-whisper-small.en",
    "small": "Systran/faster-whisper-small",
    "medium.en": "Systran/faster-whisper-medium.en",
    "medium": "Systran/faster-whisper-medium",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""Hub repository of each model name."""

LANGUAGES: Mapping[str, str] = {
    "af": "afrikaans", "am": "amharic", "ar": "arabic", "as": "assamese", "az": "azerbaijani",
    "ba": "bashkir", "be": "belarusian", "bg": "bulgarian", "bn": "bengali", "bo": "tibetan", "br": "breton",
    "bs": "bosnian", "ca": "catalan", "cs": "czech", "cy": "welsh", "da": "danish", "de": "german",
    "el": "greek", "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fo": "faroese", "fr": "french", "gl": "galician", "gu": "gujarati", "ha": "hausa",
    "haw": "hawaiian", "he": "hebrew", "hi": "hindi", "hr": "croatian", "ht": "haitian creole",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "is": "icelandic", "it": "italian",
    "ja": "japanese", "jw": "javanese", "ka": "georgian", "kk": "kazakh", "km": "khmer", "kn": "kannada",
    "ko": "korean", "la": "latin", "lb": "luxembourgish", "ln": "lingala", "lo": "lao", "lt": "lithuanian",
    "lv": "latvian", "mg": "malagasy", "mi": "maori", "mk": "macedonian", "ml": "malayalam",
    "mn": "mongolian", "mr": "marathi", "ms": "malay", "mt": "maltese", "my": "myanmar", "ne": "nepali",
    "nl": "dutch", "nn": "nynorsk", "no": "norwegian", "oc": "occitan", "pa": "punjabi", "pl": "polish",
    "ps": "pashto", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sa": "sanskrit", "sd": "sindhi",
    "si": "sinhala", "sk": "slovak", "sl": "slovenian", "sn": "shona", "so": "somali", "sq": "albanian",
    "sr": "serbian", "su": "sundanese", "sv": "swedish", "sw": "swahili", "ta": "tamil", "te": "telugu",
    "tg": "tajik", "th": "thai", "tk": "turkmen", "tl": "tagalog", "tr": "turkish", "tt": "tatar",
    "uk": "ukrainian", "ur": "urdu", "uz": "uzbek", "vi": "vietnamese", "yi": "yiddish", "yo": "yoruba",
    "yue": "cantonese", "zh": "chinese",
}  # fmt: skip
"""Whisper's language codes, each with its English name."""

# Other common names and codes.
_ALSO: Mapping[str, str] = {
    "burmese": "my", "castilian": "es", "deutsch": "de", "español": "es", "farsi": "fa", "filipino": "tl",
    "flemish": "nl", "français": "fr", "haitian": "ht", "italiano": "it", "mandarin": "zh",
    "moldavian": "ro", "moldovan": "ro", "panjabi": "pa", "português": "pt", "pushto": "ps",
    "sinhalese": "si", "valencian": "ca", "cmn": "zh", "jv": "jw", "nb": "no", "fil": "tl", "iw": "he",
    "deu": "de", "ger": "de", "eng": "en", "fra": "fr", "fre": "fr", "ita": "it", "jpn": "ja", "kor": "ko",
    "nld": "nl", "pol": "pl", "por": "pt", "rus": "ru", "spa": "es", "tur": "tr", "ukr": "uk", "zho": "zh",
}  # fmt: skip
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SHOWN_CHARS = 60


_DETECTED = ("auto", "detect", "none", "null", "any", "unknown")  # as other tools name it


def language_mistake(language: str) -> Optional[str]:
    """Return what is wrong with a language, with a suggestion; None for one of Whisper's codes."""
    if language in LANGUAGES:
        return None
    asked = language.strip().lower()
    if asked.startswith(_DETECTED):
        return f"{language[:_SHOWN_CHARS]!r} is not a language of Whisper. Leave it empty to have it detected"
    near = _near_language(asked)
    hint = f"Did you mean {near}?" if near else "Write a code such as en or de"
    return f"{language[:_SHOWN_CHARS]!r} is not a language of Whisper. {hint}"


def _near_language(text: str) -> Optional[str]:
    by_name = {**{name: code for code, name in LANGUAGES.items()}, **_ALSO}
    first = re.split(r"[-_.]", text)[0]  # de-CH, de_DE.UTF-8
    for one in (text, first):
        if one in LANGUAGES or one in by_name:
            return one if one in LANGUAGES else by_name[one]
    near = _nearest(text, by_name) if len(text) > 3 else None
    return by_name[near] if near else None


def is_folder(model: str) -> bool:
    """Return whether a model's name can only be a folder, so that it is not looked up on the hub."""
    return (
        model.startswith(("/", "./", "../", "~"))
        or model in (".", "..")
        or model.count("/") > 1
        or "\\" in model
    )


def is_repository(model: str) -> bool:
    """Return whether a model's name has the form `owner/name`, a repository on the hub."""
    return bool(_REPOSITORY.fullmatch(model)) and ".." not in model and "--" not in model


def model_hint(model: str) -> str:
    """Return what to write instead of an unknown model name."""
    near = _nearest(model.strip().lower(), MODELS)
    meant = f"Did you mean {near}? " if near else ""
    return f"{meant}Write one of {', '.join(MODELS)}, a repository of the form owner/name, or a folder"


def is_english_only(model: str) -> bool:
    """Return whether a model's name alone shows that it supports no language but English."""
    return (model in MODELS or is_repository(model)) and model.endswith(".en")


def _nearest(text: str, known: Mapping[str, str]) -> Optional[str]:
    from difflib import get_close_matches  # imported only after an error

    near = get_close_matches(text, list(known), n=1)
    return near[0] if near else None
