"""What a worker needs of an engine: load it elsewhere, then warm up, prepare, and run windows.

`Engine` is a loaded model on one device; its classes are in the rooms beside this file. All of a worker's
lanes share it: what takes time on the device is a call through the job's lane, which the main thread makes
by `native` (`batch.py`). Everything else runs in the job's own thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Protocol

from supervisor.contract.job_options import Options
from workerproc.audio.pcm_file import PcmFile
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.checkpoints.split_points import Stretch
from workerproc.checkpoints.vad_cache import VadCache
from workerproc.engine.batch import CallMaker, Lane
from workerproc.transcripts.transcript import Segment


@dataclass(frozen=True)
class Prepared:
    """Results for a whole recording that are needed before its windows: speech and language."""

    pcm_file: PcmFile
    options: Options
    stretches: Optional[list[Stretch]]  # of speech, in samples; None without vad_filter
    pauses: list[Stretch]  # all silences in and between them
    language: str
    warnings: tuple[str, ...] = ()  # about speech that was left out
    floor: float = 0.0  # the recording's lowest feature value, where the engine needs it in every part
    own: Any = None  # what only the engine itself reads


@dataclass
class Run:
    """Transcription of a recording or a part: `segments` are computed while they are iterated.

    `mark` is the latest resume point; it is valid once `mark.segments` segments have been taken.
    """

    language: Optional[str]
    segments: Iterator[Segment]
    mark: ResumePoint
    given: int = 0  # segments so far, including those before the first resume point
    sparse_s: float = 0.0  # seconds of speech in windows with almost no text
    windows: Counter[str] = field(default_factory=Counter)  # by name: see `whisper/fit_encoding.py`


class Engine(Protocol):
    """A loaded model on one device. Raises `ModelBroken`, `DeviceBroken`, `MemoryLacking` while it loads."""

    @property
    def compute_type(self) -> str:
        """The type in which it computes, as CTranslate2 names them."""

    @property
    def native(self) -> CallMaker:
        """Makes the calls of all lanes, in the main thread."""

    def warm_up(self) -> None:
        """Transcribe one window, since some libraries fail only when they compute. Raises as loading does."""

    def identity(self) -> Mapping[str, str]:
        """Name everything of the engine that determines the text: libraries with versions, own rules."""

    def fit_languages(self, options: Options) -> Sequence[str]:
        """Return the languages whose windows are fit with these options; `*`: all."""

    def unfit(self, options: Options) -> Optional[str]:
        """Name the option that this engine or model does not support, and why; None where all are."""

    def warnings(self, options: Options) -> Iterable[str]:
        """Give a warning for each option that is not fully used."""

    @property
    def tokens_in(self) -> Optional[Callable[[Sequence[Any]], int]]:
        """Counts the tokens in the answers of a generate call; None: calls are not batched."""

    def prepare(
        self,
        pcm_file: PcmFile,
        options: Options,
        lane: Lane,
        language: Optional[str] = None,
        reach: Optional[Callable[[float], None]] = None,
    ) -> Prepared:
        """Detect speech and, unless given, the language. `reach` receives the seconds done so far."""

    def prepare_with(self, pcm_file: PcmFile, options: Options, known: VadCache) -> Prepared:
        """Do the same with the cached voice detection of another worker."""

    def run(
        self,
        prepared: Prepared,
        part: Optional[list[Stretch]],
        lane: Lane,
        mark: Optional[ResumePoint] = None,
        at_mark: Callable[[ResumePoint], None] = lambda mark: None,
    ) -> Run:
        """Start or resume the windows of a recording (`part`: all its stretches of speech) or of a part.

        The work is done while the segments are iterated. `at_mark` is called before each window with its
        resume point; an exception that it raises ends the run. The same audio, options and model give the
        same segments from any resume point. Raises `AudioRejected` for an unsupported option.
        """
