"""`python -m workerproc fetch MODEL`: a model's folder, downloaded once where it is not here.

Prints JSON lines: `progress` while it downloads, at last `ready` or `failed`. The
supervisor runs it before any worker starts: workers themselves never ask a hub. A model that is
cached, packaged or a folder is given without one packet of network. Honours HF_HOME, HF_ENDPOINT,
HF_TOKEN and HF_HUB_OFFLINE, as huggingface_hub reads them.
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
from supervisor.contract.exits import Exit
from workerproc.process import models, telemetry
from workerproc.process.models import ModelFolder, NoModel

Tell = Callable[[int, int], None]  # bytes done, bytes in all

# What faster-whisper asks for. model.bin is fetched last: where it stands, the others do.
_SMALL = ["config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.*"]
_ALL = [*_SMALL, "model.bin"]
_PROGRESS_S = 1.0
_DRAFT_IS_DEAD_S = 600.0  # no byte for so long: nobody writes it any more (the hub's time-outs are seconds)


def main(name: str) -> int:
    """Print what became of it; give the exit code."""
    try:
        found = find(name, lambda done, total: _say("progress", done_bytes=done, total_bytes=total))
    except NoModel as error:
        _say("failed", reason=str(error), cure=error.cure, final=error.is_final)
        return Exit.FAILED
    _say("ready", path=str(found.path), source=found.source)
    return Exit.OK


def _say(event: str, **facts: Any) -> None:
    try:
        print(json.dumps({"event": event, **facts}, ensure_ascii=False), flush=True)
    except OSError:
        # Whoever wanted the model is gone: don't go on downloading for nobody.
        os._exit(Exit.ORPHANED)


def find(name: str, tell: Tell) -> ModelFolder:
    """Find a model or download it. Raises `NoModel`, which says what to do."""
    folder = models.folder_of(name)
    if folder is not None:
        return ModelFolder(folder, "folder")
    telemetry.switch_off()
    repository = models.repository_of(name)
    here = _here(name, repository)
    if here is not None:
        return here
    with _one_at_a_time(repository):
        # Another process may have fetched it while this one waited.
        return _here(name, repository) or _download(name, repository, tell)


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
    # Older versions of the library give a folder whose download broke off.
    return None if models.missing_files(Path(folder)) else Path(folder)


def _download(name: str, repository: str, tell: Tell) -> ModelFolder:
    import huggingface_hub

    blobs = _repository_folder(repository) / "blobs"
    try:
        _clear_drafts(blobs)
        total_bytes = _total_bytes(repository)
        with _watching(blobs, total_bytes, tell):
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
    """Say in words why the hub did not give it. The one place that knows the hub's errors."""
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
    """Say which models need no hub."""
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
    """Let one process of this user download a repository; the lock goes with its holder, however it ends."""
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
def _watching(blobs: Path, total_bytes: int, tell: Tell) -> Iterator[None]:
    """Tell about once a second how many bytes have come, by the files themselves."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PROGRESS_S):
            tell(min(_stored_bytes(blobs), total_bytes), total_bytes)

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    tell(min(_stored_bytes(blobs), total_bytes), total_bytes)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    tell(total_bytes, total_bytes)


def _clear_drafts(blobs: Path) -> None:
    """Remove what killed downloads left: huggingface_hub 2 begins a new file each time, up to 3 GB."""
    if blobs.is_dir():
        for path in blobs.glob("*.????????.incomplete"):
            with contextlib.suppress(OSError):
                if clock.wall_unix_s() - path.stat().st_mtime > _DRAFT_IS_DEAD_S:
                    path.unlink()


def _stored_bytes(blobs: Path) -> int:
    """Count what stands on the disk; a file made long beforehand counts by what is in it."""
    total = 0
    with contextlib.suppress(OSError):
        for path in blobs.iterdir():
            with contextlib.suppress(OSError):
                stat = path.stat()
                total += min(stat.st_size, stat.st_blocks * 512)
    return total
