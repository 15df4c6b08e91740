"""ObjectStore in a folder: bucket and key become a path that cannot leave the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

from supervisor.broker.backends.fsync import SharedSync, sync, sync_open
from supervisor.broker.ports.errors import JobRejected, TryLater
from supervisor.broker.ports.ports import ObjectFacts
from supervisor.broker.ports.streams import copy_bytes, spool_errors

_PERMANENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# Another disk, a file system without links, too many links, or a file of another user.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
_SYNCS_MOST = 1_000


class LocalObjects:
    """ObjectStore in folders: written to a temporary file, synced, then renamed.

    A transcript is already in the spool and is linked to its final name without a copy.
    """

    def __init__(self, root: Path, spool: Optional[Path] = None) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root.resolve()
        self._spool = spool
        self._syncs: dict[Path, SharedSync] = {}
        self._guard = threading.Lock()

    def path_of(self, bucket: str, key: str) -> Path:
        """Return an object's file. Raises JobRejected if the name leads out of the folder."""
        parts = [bucket, *key.split("/")]
        if any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in parts):
            raise JobRejected(f"There is no object {key[:200]!r}: such a name can't be stored here.")
        # A symbolic link in the folder may point anywhere: check the resolved path.
        path = str(self._root)
        for part in parts:
            path = f"{path}/{part}"
            if os.path.islink(path) and self._root not in Path(path).resolve().parents:
                raise JobRejected(f"There is no object {key[:200]!r}: its name leads out of the folder.")
        return Path(path)

    def fetch(
        self, bucket: str, key: str, to: Path, admit: Callable[[ObjectFacts], None], version: str = ""
    ) -> ObjectFacts:
        path = self.path_of(bucket, key)
        with _errors("audio", bucket, key), open(path, "rb") as source:
            facts = _facts(os.fstat(source.fileno()))
            admit(facts)
            with spool_errors(to), open(to, "xb") as target:
                copy_bytes(source, target, facts.size_bytes)
        return facts

    def look(self, bucket: str, key: str) -> Optional[ObjectFacts]:
        try:
            path = self.path_of(bucket, key)
            with _errors("audio", bucket, key):
                return _facts(path.stat()) if path.is_file() else None
        except JobRejected:
            return None

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        path = self.path_of(bucket, key)
        with _errors("transcripts", bucket, key):
            if not self._is_given(source) or not self._link(source, path):
                self._copy(source, path)
            _give_to_owner(path, self._root)
            self._folder_sync(path.parent).wait()

    def _is_given(self, source: Path) -> bool:
        return self._spool is not None and self._spool in source.parents

    def _link(self, source: Path, path: Path) -> bool:
        """Link a spool file to its final name; False if it must be copied.

        The link is as safe as a copy: writers in the spool replace files and never change them.
        """
        try:
            sync(source)
            os.link(source, path)
        except FileExistsError:
            return os.path.samefile(source, path)
        except FileNotFoundError:
            return False  # the folder does not exist yet
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def _copy(self, source: Path, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=self._unfinished_folder(), prefix="put-")
        try:
            with open(source, "rb") as reading, open(number, "wb") as writing:
                copy_bytes(reading, writing, os.fstat(reading.fileno()).st_size)
                writing.flush()
                sync_open(writing.fileno())
            _give_to_owner(Path(name), self._root.parent)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise

    def _folder_sync(self, folder: Path) -> SharedSync:
        """Return the shared sync that makes renames in this folder durable."""
        with self._guard:
            found = self._syncs.get(folder)
            if found is None:
                if len(self._syncs) >= _SYNCS_MOST:
                    self._syncs.clear()  # threads that wait on one of these still use it
                found = self._syncs[folder] = SharedSync(folder)
            return found

    def delete(self, bucket: str, key: str) -> None:
        path = self.path_of(bucket, key)
        with _errors("transcripts", bucket, key), contextlib.suppress(FileNotFoundError):
            path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # the last file removes its folder too

    def names(self, bucket: str, prefix: str) -> list[str]:
        top = self._root / bucket
        folder = self.path_of(bucket, prefix.rstrip("/"))
        with _errors("transcripts", bucket, prefix):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [str(path.relative_to(top)) for path in files[:1_000]]

    def _unfinished_folder(self) -> Path:
        """Return the folder for unfinished files; no bucket can have its name."""
        scratch = self._root.parent / "unfinished"
        scratch.mkdir(mode=0o700, exist_ok=True)
        return scratch


def _facts(found: os.stat_result) -> ObjectFacts:
    return ObjectFacts(found.st_size, etag=f"{found.st_size}-{found.st_mtime_ns}")


def _give_to_owner(path: Path, top: Path) -> None:
    """Give files that root creates here to the folder's owner, as SQLite does: the service must read them."""
    owner = top.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for made in (path, *path.parents):
        if made == top:
            return
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def _errors(where: str, bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except _PERMANENT as error:
        raise JobRejected(f"There is no object {key[:300]!r} in bucket {bucket}.") from error
    except OSError as error:
        raise TryLater(where, f"{bucket}/{key[:300]}: {error.strerror}") from error
