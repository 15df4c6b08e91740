"""`python -m workerproc fetch MODEL`: finds a model, or downloads it from the Hugging Face hub.

Prints JSON lines: `progress` during a download, then `ready` or `failed`. The supervisor runs it before any
worker starts: workers never access the network. A model that is a folder, in the cache or installed as a
package is found without network access. Honours HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE, as
huggingface_hub reads them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.contract import clock
from supervisor.contract.engine import engines
from supervisor.contract.exits import Exit
from workerproc.process import models, telemetry
from workerproc.process.models import ModelFolder, NoModel

OnProgress = Callable[[int, int], None]  # (bytes downloaded, bytes in total)

# The files that faster-whisper needs. model.bin is fetched last: if it exists, so do the others.
_SMALL = ["config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*"]
_ALL = [*_SMALL, "model.bin"]
_PROGRESS_S = 1.0
_DRAFT_IS_DEAD_S = 600.0  # without a new byte, a download is abandoned (the hub's time-outs are seconds)


def main(name: str, engine: str = engines.DEFAULT) -> int:
    """Find or download a model and print the result; return the exit code."""
    try:
        if engine == engines.DEFAULT:
            found = find(name, lambda done, all_: _print_event("progress", done_bytes=done, total_bytes=all_))
        else:
            found = models.of_engine(name, engine)
    except NoModel as error:
        _print_event("failed", reason=str(error), cure=error.cure, final=error.is_final)
        return Exit.FAILED
    _print_event("ready", path=str(found.path), source=found.source)
    return Exit.OK


def _print_event(event: str, **facts: Any) -> None:
    try:
        print(json.dumps({"event": event, **facts}, ensure_ascii=False), flush=True)
    except OSError:
        # The process that wanted the model is gone: stop downloading.
        os._exit(Exit.ORPHANED)


def find(name: str, on_progress: OnProgress) -> ModelFolder:
    """Find a model or download it. Raises `NoModel`, whose `cure` says what to do."""
    folder = models.folder_of(name)
    if folder is not None:
        return ModelFolder(folder, "folder")
    telemetry.switch_off()
    repository = models.repository_of(name)
    here = _here(name, repository)
    if here is not None:
        return here
    with _one_at_a_time(repository):
        # Another process may have downloaded it meanwhile.
        return _here(name, repository) or _download(name, repository, on_progress)


def _here(name: str, repository: str) -> Optional[ModelFolder]:
    cached = _cached(repository)
    if cached is not None:
        return ModelFolder(cached, "cache")
    packaged = models.packaged(name)
    return ModelFolder(packaged, "package") if packaged is not None else None


def _cached(repository: str) -> Optional[Path]:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = huggingface_hub.snapshot_download(repository, local_files_only=True, allow_patterns=_ALL)
    except (LocalEntryNotFoundError, FileNotFoundError):
        return None
    # Older versions of the library return folders of incomplete downloads.
    return None if models.missing_files(Path(folder)) else Path(folder)


def _download(name: str, repository: str, on_progress: OnProgress) -> ModelFolder:
    import huggingface_hub

    blobs = _repository_folder(repository) / "blobs"
    try:
        _clear_drafts(blobs)
        total_bytes = _total_bytes(repository)
        with _watching(blobs, total_bytes, on_progress):
            huggingface_hub.snapshot_download(repository, allow_patterns=_SMALL)
            folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=_ALL))
    except Exception as error:
        raise _no_model(name, repository, error) from error
    missing = models.missing_files(folder)
    if missing:
        raise NoModel(
            f"{repository} is not a faster-whisper model: it lacks {', '.join(missing)}",
            "Name a repository that was converted for CTranslate2",
            is_final=True,
        )
    return ModelFolder(folder, "hub")


def _total_bytes(repository: str) -> int:
    import huggingface_hub

    info = huggingface_hub.HfApi().model_info(repository, files_metadata=True)
    wanted = re.compile(r"(config|preprocessor_config|tokenizer)\.json|vocabulary\..*|model\.bin")
    return sum(file.size or 0 for file in info.siblings or () if wanted.fullmatch(file.rfilename))


def _no_model(name: str, repository: str, error: Exception) -> NoModel:
    """Explain why the download failed. Only this function interprets the hub library's errors."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    hub = constants.ENDPOINT
    absent = f"model {name} is not available"
    if isinstance(error, GatedRepoError):
        return NoModel(
            f"{absent}: {hub} gives {repository} only to accounts that may read it",
            "Set HF_TOKEN to a token of such an account",
            is_final=True,
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return NoModel(
            f"{absent}: {hub} has no repository {repository}",
            "Correct WHISPER_MODEL, or set HF_TOKEN if the repository is private",
            is_final=True,
        )
    if isinstance(error, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return NoModel(
            f"{absent}: it is not on this host and HF_HUB_OFFLINE is set",
            f"Fetch it once without HF_HUB_OFFLINE, or {_without_hub()}",
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return NoModel(
            f"{absent}: it can't be stored in {constants.HF_HUB_CACHE}: {error.strerror or error}",
            "Free some space there, or set HF_HOME to a folder with enough",
        )
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return NoModel(
        f"{absent}: it is not on this host and could not be fetched from {hub}: {first_line}",
        f"Check the network, the proxy and HF_ENDPOINT, or {_without_hub()}",
    )


def _without_hub() -> str:
    """Suggest models that need no download."""
    tiny = (
        f", or to {models.PACKAGED_MODEL}, which is installed"
        if models.packaged(models.PACKAGED_MODEL)
        else ""
    )
    return f"set WHISPER_MODEL to a folder that holds a model{tiny}"


def _repository_folder(repository: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


@contextlib.contextmanager
def _one_at_a_time(repository: str) -> Iterator[None]:
    """Let one process at a time download a repository; the lock ends with the process that has it."""
    path = _repository_folder(repository).with_suffix(".rem-lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoModel(
            f"model {repository} is not available: it can't be stored in {path.parent}: "
            f"{error.strerror or error}",
            "Make it writable for this user, or set HF_HOME to a folder that is",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _watching(blobs: Path, total_bytes: int, on_progress: OnProgress) -> Iterator[None]:
    """Report once a second how many bytes have been downloaded, by the size of the files."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PROGRESS_S):
            on_progress(min(_stored_bytes(blobs), total_bytes), total_bytes)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    on_progress(min(_stored_bytes(blobs), total_bytes), total_bytes)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    on_progress(total_bytes, total_bytes)


def _clear_drafts(blobs: Path) -> None:
    """Remove files of killed downloads: huggingface_hub 2 starts a new file each time, of up to 3 GB."""
    if blobs.is_dir():
        for path in blobs.glob("*.????????.incomplete"):
            with contextlib.suppress(OSError):
                if clock.wall_unix_s() - path.stat().st_mtime > _DRAFT_IS_DEAD_S:
                    path.unlink()


def _stored_bytes(blobs: Path) -> int:
    """Count the bytes on disk; a file allocated in advance counts by its written blocks."""
    total = 0
    with contextlib.suppress(OSError):
        for path in blobs.iterdir():
            with contextlib.suppress(OSError):
                stat = path.stat()
                total += min(stat.st_size, stat.st_blocks * 512)
    return total
