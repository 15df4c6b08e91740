"""Error classes of the worker, and the classification of errors raised by libraries.

Only `classify` interprets the error messages of CTranslate2, CUDA and oneDNN.
"""

from __future__ import annotations

import errno
import re

from supervisor.contract.wire.messages import Failure

_MEMORY = re.compile(
    r"out of memory|failed to allocate|could not create a memory object|std::bad_alloc|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
# Deliberately narrow: a false match ends a healthy process and holds its slot.
_DEVICE = re.compile(
    r"\bCUDA\b|\bcuDNN|\bcuBLAS|CUBLAS_STATUS|CUDNN_STATUS|libcu(dnn|blas|da)|compiled with CUDA",
    re.IGNORECASE,
)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class AudioRejected(Exception):
    """This file cannot be transcribed, and no retry will help. The message is shown to users."""


class ModelBroken(Exception):
    """The model cannot be used on this device. An operator must change the settings or the model folder."""


class SettingsUnfit(Exception):
    """The model does not support the service's options. An operator must change the settings."""


class DeviceBroken(Exception):
    """The device cannot be used until it is repaired or the host is rebooted."""


class MemoryLacking(Exception):
    """The model does not fit into memory. A smaller model, or a smaller batch, may."""


class JobStopped(Exception):
    """The supervisor stopped the job: the worker must write nothing more for it."""


class JobPutDown(JobStopped):
    """The supervisor suspends the job: the worker writes a last checkpoint and ends it."""


def classify(error: BaseException) -> Failure:
    """Return the failure class of an error that was raised during a job."""
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
    """Return the first line of an error message, with the error's class unless it is written for users."""
    text = " ".join((str(error).strip() or "no details").splitlines()[:1])
    return (text if isinstance(error, AudioRejected) else f"{type(error).__name__}: {text}")[:limit_chars]


def at_start(error: Exception, where: str) -> Exception:
    """Convert an error raised while loading or warming up into one of the classes above."""
    text = f"{where}: {sentence(error)}"
    if isinstance(error, JobStopped):
        return error
    failure = classify(error)
    if failure is Failure.SICK_DEVICE:
        return DeviceBroken(text)
    if failure is Failure.OUT_OF_MEMORY:
        return MemoryLacking(text)
    return ModelBroken(text)
