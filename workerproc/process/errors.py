"""What can go wrong inside a worker, by who can cure it; and what a foreign error text means.

`classify` is the one place that reads the words of CTranslate2, CUDA and oneDNN.
"""

from __future__ import annotations

import errno
import re

from supervisor.contract.wire.messages import Failure

_MEMORY = re.compile(
    r"out of memory|failed to allocate|could not create a memory object|std::bad_alloc|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
# Narrow on purpose: a false hit ends a healthy process and holds its slot.
_DEVICE = re.compile(
    r"\bCUDA\b|\bcuDNN|\bcuBLAS|CUBLAS_STATUS|CUDNN_STATUS|libcu(dnn|blas|da)|compiled with CUDA",
    re.IGNORECASE,
)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class AudioRejected(Exception):
    """Nobody can cure it: this file can't be transcribed. The text is a sentence for people."""


class ModelBroken(Exception):
    """The model can't be used on this device. A person must change the settings or the folder."""


class SettingsUnfit(Exception):
    """The model can't follow the service's own options. A person must change the settings."""


class DeviceBroken(Exception):
    """The device can't be used. A person or a reboot must cure it."""


class MemoryLacking(Exception):
    """The model does not fit into the memory that there is. A smaller one, or smaller numbers, may."""


class JobStopped(Exception):
    """The supervisor took the job back: forget it, write nothing more of it."""


class JobPutDown(JobStopped):
    """The supervisor wants the job put down: one more checkpoint, then forget it."""


def classify(error: BaseException) -> Failure:
    """Say which class of failure an error in the middle of a job is."""
    if isinstance(error, AudioRejected):
        return Failure.REJECTED
    if isinstance(error, DeviceBroken):
        return Failure.SICK_DEVICE
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(str(error))):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and _DEVICE.search(str(error)):
        return Failure.SICK_DEVICE
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return Failure.DEPENDENCY
    return Failure.FAILURE


def sentence(error: BaseException, limit_chars: int = 300) -> str:
    """Give the first line of an error, with its class where the text alone says little."""
    text = " ".join((str(error).strip() or "no details").splitlines()[:1])
    return (text if isinstance(error, AudioRejected) else f"{type(error).__name__}: {text}")[:limit_chars]


def at_start(error: Exception, where: str) -> Exception:
    """Turn what loading or warming up raised into the error that says who can cure it."""
    text = f"{where}: {sentence(error)}"
    if isinstance(error, JobStopped):
        return error
    failure = classify(error)
    if failure is Failure.SICK_DEVICE:
        return DeviceBroken(text)
    if failure is Failure.OUT_OF_MEMORY:
        return MemoryLacking(text)
    return ModelBroken(text)
