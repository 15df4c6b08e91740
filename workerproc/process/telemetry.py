"""Disables the telemetry of onnxruntime and huggingface_hub, however the process was started.

The onnxruntime wheel uploads usage data and stores an id in ~/.cache/Microsoft; huggingface_hub sends the
versions of the libraries in use.
"""

from __future__ import annotations

import os

_NAMES = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")


def switch_off() -> None:
    """Disable telemetry and progress bars. Call before these libraries are imported."""
    os.environ.update(dict.fromkeys(_NAMES, "1"))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
