"""Objects as files in a folder: bucket and key become a path that can't leave it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from supervisor.broker.errors import JobRejected, TryLater
from supervisor.broker.ports import ObjectFacts
from supervisor.broker.streams import copy_bytes, spool_errors

_NEVER_CURED = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalObjects:
    """ObjectStore in folders: written beside, made durable, then renamed into place."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()

    def path_of(self, bucket: str, key: str) -> Path:
        """Give the file of an object. Raises JobRejected where the name leaves the folder."""
        parts = [bucket, *key.split("/")]
        if any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in parts):
            raise JobRejected(f"There is no object {key[:200]!r}: such a name can't be stored here.")
        path = self._root.joinpath(*parts)
        # A link inside the folder may point anywhere: what counts is where the path really ends.
        if self._root not in path.resolve().parents:
            raise JobRejected(f"There is no object {key[:200]!r}: its name leads out of the folder.")
        return path

    def fetch(self, bucket: str, key: str, to: Path, admit: Callable[[int], None]) -> ObjectFacts:
        path = self.path_of(bucket, key)
        with _errors("audio", bucket, key), open(path, "rb") as source:
            facts = os.fstat(source.fileno())
            admit(facts.st_size)
            with spool_errors(to), open(to, "xb") as target:
                copy_bytes(source, target, facts.st_size)
        return ObjectFacts(facts.st_size, etag=f"{facts.st_size}-{facts.st_mtime_ns}")

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        path = self.path_of(bucket, key)
        with _errors("transcripts", bucket, key):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._scratch(), prefix="put-")
            try:
                with open(source, "rb") as reading, open(number, "wb") as writing:
                    copy_bytes(reading, writing, os.fstat(reading.fileno()).st_size)
                    writing.flush()
                    os.fsync(writing.fileno())
                _give_to_owner(Path(name), self._root.parent)
                os.replace(name, path)
                _give_to_owner(path, self._root)
            except BaseException:
                os.unlink(name)
                raise
            _sync_folder(path.parent)

    def _scratch(self) -> Path:
        """Give the folder for unfinished files: no bucket can have its name."""
        scratch = self._root.parent / "unfinished"
        scratch.mkdir(mode=0o700, exist_ok=True)
        return scratch


def _give_to_owner(path: Path, top: Path) -> None:
    """Let what root puts here belong to the folder's owner, as SQLite does: the service must read it."""
    owner = top.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for made in (path, *path.parents):
        if made == top:
            return
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _errors(where: str, bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except _NEVER_CURED as error:
        raise JobRejected(f"There is no object {key[:300]!r} in bucket {bucket}.") from error
    except OSError as error:
        raise TryLater(where, f"{bucket}/{key[:300]}: {error.strerror}") from error
