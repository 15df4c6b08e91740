"""Where pip puts CUDA's libraries (the extra `cuda`), for the dynamic linker of GPU workers.

CTranslate2 opens cuBLAS and cuDNN by name; the linker knows nothing of site-packages, and
reads LD_LIBRARY_PATH only when a process starts: so it is set before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def library_folders(path: Sequence[str]) -> tuple[str, ...]:
    """Give `nvidia/*/lib` of every entry of `sys.path`, in its order, each once."""
    folders = [
        str(folder)
        for entry in path
        if entry
        for folder in sorted(Path(entry).glob("nvidia/*/lib"))
        if folder.is_dir() and any(folder.glob("*.so*"))
    ]
    return tuple(dict.fromkeys(folders))
