"""Environment variables that each kind of child receives. PURE.

A worker runs native code on untrusted audio. It gets only names from a short list, and so no
credentials, whatever they are called. Only the broker gets everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_PLAIN = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    )
)
# How this interpreter finds its files and reads names. The others (PYTHONINSPECT, PYTHONSTARTUP,
# PYTHONIOENCODING, PYTHONVERBOSE ...) are for interactive use, and would change what a child does or prints.
_PYTHON = frozenset(
    (
        *("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
        *("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONCOERCECLOCALE"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONMALLOC", "PYTHONTRACEMALLOC"),
    )
)
# onnxruntime's wheel uploads usage and keeps an id in ~/.cache/Microsoft; the hub's client counts as well.
_NO_TELEMETRY = {
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_", "CT2_", "MALLOC_", "ORT_")
_SECRET = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH")  # as in NVIDIA_API_KEY
_NETWORK = frozenset(
    (
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    )
)
# By default glibc returns each large block to the kernel and maps it again, zeroed, page by page: 73,000
# page faults for one encoded window, a third of its time. A worker keeps its blocks instead.
_KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024**3),
    "MALLOC_TOP_PAD_": str(64 * 1024**2),
    "MALLOC_ARENA_MAX": "1",
}
_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")  # systemd #25961: these leak to children


def for_broker(environ: Mapping[str, str], aws: Mapping[str, str], settings: str) -> dict[str, str]:
    """The whole environment, including credentials, and the AWS names of `.env`."""
    kept = {name: value for name, value in environ.items() if _is_for_broker(name)}
    return {**kept, **aws, **_ours(settings)}


def for_gpuwatch(environ: Mapping[str, str], settings: str = "{}") -> dict[str, str]:
    return {**_short_list(environ), **_ours(settings)}


def for_model_fetch(environ: Mapping[str, str]) -> dict[str, str]:
    """The short list, the hub's own names (its token among them) and proxies."""
    hub = {name: value for name, value in environ.items() if name.startswith("HF_") or name in _NETWORK}
    return {**_short_list(environ), **hub, **_ours("{}")}


def for_worker(
    environ: Mapping[str, str],
    settings: str,
    device: str,
    threads: int,
    python_path: str,
    home: str,
    libraries: Sequence[str] = (),
) -> dict[str, str]:
    """The short list, one device, and no access to a model hub. `device`: a UUID, empty on the CPU.

    `home` is a folder for workers alone: the user's own has ~/.aws and the caches of other programs.
    `libraries` are folders for the dynamic linker, before those that are set already.
    On the CPU memory is kept between windows, unless the environment says otherwise.
    """
    own = environ.get("LD_LIBRARY_PATH", "")
    path = {"LD_LIBRARY_PATH": ":".join([*libraries, own] if own else libraries)} if libraries else {}
    kept = {name: value for name, value in _short_list(environ).items() if name != "XDG_CACHE_HOME"}
    return {
        **({} if device else _KEEP_MEMORY),
        **kept,
        **_ours(settings),
        "HOME": home,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": device,
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": python_path,
        **path,
    }


def _short_list(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in _PLAIN or name in _PYTHON or _is_tuning(name)
    }


def _is_for_broker(name: str) -> bool:
    return not name.startswith(_SYSTEMD) and (name in _PYTHON or not name.startswith("PYTHON"))


def _is_tuning(name: str) -> bool:
    return name.startswith(_PREFIXES) and not any(word in name.upper() for word in _SECRET)


def _ours(settings: str) -> dict[str, str]:
    # Unbuffered: the last output of a killed child must not be lost in its buffer.
    # Safe path: a file named boto3.py in the working folder must not be imported.
    own = {"REM_CHILD_SETTINGS": settings, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
    return {**own, **_NO_TELEMETRY}
