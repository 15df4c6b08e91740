"""An inherited CUDA_VISIBLE_DEVICES, applied by CUDA's own rules. PURE.

NVML ignores that variable; who set it means it all the same. Unset shows all, empty none.
Entries are ordinals, or UUIDs and unique beginnings of them. The first entry fixes the
kind, the first bad one ends the list, and a GPU named twice empties it. A GPU that is cut
up stands for its first MIG device, and of those CUDA takes one at most.
Source: CUDA C++ Programming Guide, "CUDA Environment Variables", and trials noted in
the facts of this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

_NAME = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Visible:
    """The UUIDs that CUDA would show, in its order, and a word where that may surprise."""

    uuids: tuple[str, ...]
    note: str = ""


def visible(value: Optional[str], uuids: Sequence[str], migs: Mapping[str, Sequence[str]] = {}) -> Visible:
    """Apply `value` to all GPUs of the host, given in PCI order; `migs` are those that are cut up.

    Without a value all MIG devices are shown: CUDA would take the first, but each worker is given its own.
    """
    if value is None:
        return Visible(tuple(shown for uuid in uuids for shown in migs.get(uuid, (uuid,))))
    entries = [entry.strip() for entry in value.split(",")]
    kind = _kind(entries[0])
    parts = [part for uuid in uuids for part in migs.get(uuid, ())]
    shown: list[str] = []
    for entry in entries:
        uuid = _find(entry, kind, parts if kind == "MIG-" else uuids)
        if uuid is None:
            return Visible(tuple(shown), _bad_entry(entry, value, bool(shown)))
        if uuid in shown:
            return Visible((), f"{_NAME}={value} names one GPU twice, so CUDA shows none. Name it once")
        if kind == "MIG-" or uuid in migs:
            # CUDA takes one MIG device at most: the list ends here.
            return Visible((*shown, *(migs[uuid][:1] if uuid in migs else (uuid,))))
        shown.append(uuid)
    return Visible(tuple(shown))


def ordinals_may_differ(value: Optional[str], order: Optional[str], names: Sequence[str]) -> bool:
    """Say whether ordinals in `value` may mean other GPUs to CUDA than to us.

    Without CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA counts the fastest first, which is another
    order only where the GPUs are of different makes.
    """
    return bool(value) and _kind(value or "") == "" and order != "PCI_BUS_ID" and len(set(names)) > 1


def _kind(entry: str) -> str:
    for kind in ("GPU-", "MIG-"):
        if entry.startswith(kind):
            return kind
    return ""


def _find(entry: str, kind: str, uuids: Sequence[str]) -> Optional[str]:
    if _kind(entry) != kind:
        return None
    if not kind:
        ordinal = int(entry) if entry.isascii() and entry.isdigit() else -1
        return uuids[ordinal] if 0 <= ordinal < len(uuids) else None
    matching = [uuid for uuid in uuids if uuid.startswith(entry)]
    if entry in matching:
        return entry
    return matching[0] if len(matching) == 1 else None


def _bad_entry(entry: str, value: str, some_shown: bool) -> str:
    if value.strip() == "":
        return f"{_NAME} is set and empty, which hides every GPU. Unset it to use them"
    what = "the rest of the list is" if some_shown else "every GPU is"
    return f"{_NAME}={value}: {entry!r} fits no GPU here or several, so {what} left out. Correct or unset it"
