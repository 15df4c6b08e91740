"""Applies an inherited CUDA_VISIBLE_DEVICES by CUDA's rules, since NVML ignores it. PURE.

If it is unset, all GPUs are visible; if it is empty, none is. Entries are ordinals, or UUIDs and unique
prefixes of UUIDs. The first entry determines the kind; the first invalid entry ends the list; a GPU listed
twice empties it. A GPU in MIG mode stands for its first MIG device, and CUDA uses at most one MIG device.
Source: CUDA C++ Programming Guide, "CUDA Environment Variables", and trials noted in the facts of this
project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

_NAME = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Visible:
    """The UUIDs that CUDA would show, in its order, and a note if that may be unexpected."""

    uuids: tuple[str, ...]
    note: str = ""


def visible(value: Optional[str], uuids: Sequence[str], migs: Mapping[str, Sequence[str]] = {}) -> Visible:
    """Apply `value` to all GPUs of the host in PCI order; `migs` has the MIG devices of GPUs in MIG mode.

    Without a value, all MIG devices are visible: CUDA would use the first, but each worker is assigned its
    own.
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
            return Visible((), f"{_NAME}={value} lists a GPU twice, so CUDA shows none. List it once")
        if kind == "MIG-" or uuid in migs:
            # CUDA uses at most one MIG device: the list ends here.
            return Visible((*shown, *(migs[uuid][:1] if uuid in migs else (uuid,))))
        shown.append(uuid)
    return Visible(tuple(shown))


def ordinals_may_differ(value: Optional[str], order: Optional[str], names: Sequence[str]) -> bool:
    """Return whether ordinals in `value` may mean other GPUs to CUDA than here.

    Without CUDA_DEVICE_ORDER=PCI_BUS_ID, CUDA lists the fastest GPU first. That order differs from PCI's only
    if the GPUs are of different models.
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
    effect = "the rest of the list is ignored" if some_shown else "no GPU is visible"
    return f"{_NAME}={value}: {entry!r} matches no GPU or several, so {effect}. Correct or unset it"
