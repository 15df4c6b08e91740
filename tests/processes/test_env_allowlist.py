"""What each kind of child sees of the environment: credentials go to the broker and to nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

import pytest

from supervisor.processes import env_allowlist

CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_SECURITY_TOKEN"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_CONNECTION_STRING"),
    *(
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GITHUB_TOKEN",
        "GH_TOKEN",
    ),
    *("NVIDIA_API_KEY", "NGC_API_KEY", "WANDB_API_KEY", "SENTRY_DSN", "DATABASE_URL", "REDIS_URL"),
    *("PGPASSWORD", "NPM_TOKEN", "SLACK_BOT_TOKEN", "SSH_AUTH_SOCK", "VAULT_TOKEN", "KUBECONFIG"),
    *(
        "NVIDIA_NGC_TOKEN",
        "OMP_LICENSE_KEY",
        "LC_SECRET",
        "CUDA_AUTH",
        "TWINE_PASSWORD",
        "MY_SERVICE_PASSWORD",
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL"),  # they may hold a password
)
SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
TUNING = (
    "CUDA_CACHE_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_WAIT_POLICY",
    "OPENBLAS_CORETYPE",
    "CT2_VERBOSE",
    "LC_ALL",
    "PATH",
)
SECRET = "hunter2"
EVERYTHING: Mapping[str, str] = {
    **dict.fromkeys(CREDENTIALS, SECRET),
    **dict.fromkeys(SYSTEMD, "systemd"),
    **dict.fromkeys(TUNING, "tuned"),
}


def worker(environ: Mapping[str, str] = EVERYTHING) -> dict[str, str]:
    return env_allowlist.for_worker(environ, "{}", "GPU-aaaa", 3, "/packages", "/home/of/workers")


def test_no_credential_reaches_a_worker() -> None:
    seen = worker()

    assert [name for name in CREDENTIALS if name in seen] == []
    assert SECRET not in seen.values()


def test_no_credential_reaches_gpuwatch() -> None:
    seen = env_allowlist.for_gpuwatch(EVERYTHING)

    assert SECRET not in seen.values()


def test_model_fetch_gets_the_hubs_token_and_the_proxies_and_no_other_credential() -> None:
    seen = env_allowlist.for_model_fetch(EVERYTHING)

    secrets = {name for name, value in seen.items() if value == SECRET}
    assert secrets == {"HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy"}


def test_broker_gets_credentials_and_what_dot_env_adds() -> None:
    seen = env_allowlist.for_broker(EVERYTHING, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "{}")

    assert seen["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "seen",
    [
        worker(),
        env_allowlist.for_gpuwatch(EVERYTHING),
        env_allowlist.for_model_fetch(EVERYTHING),
        env_allowlist.for_broker(EVERYTHING, {}, "{}"),
    ],
    ids=["worker", "gpuwatch", "model fetch", "broker"],
)
def test_what_systemd_said_to_us_is_not_passed_on(seen: Mapping[str, str]) -> None:
    """A child that says READY=1 or feeds the watchdog would speak for the supervisor."""
    assert [name for name in SYSTEMD if name in seen] == []


def test_worker_keeps_what_tunes_its_libraries() -> None:
    seen = worker()

    assert [name for name in TUNING if seen.get(name) != "tuned"] == []


def test_worker_sees_its_own_device_and_no_model_hub_whatever_was_set() -> None:
    seen = worker({"CUDA_VISIBLE_DEVICES": "0,1,2", "OMP_NUM_THREADS": "64", "HF_HUB_OFFLINE": "0"})

    assert (seen["CUDA_VISIBLE_DEVICES"], seen["OMP_NUM_THREADS"]) == ("GPU-aaaa", "3")
    assert seen["OPENBLAS_NUM_THREADS"] == "3"
    assert (seen["HF_HUB_OFFLINE"], seen["PYTHONPATH"]) == ("1", "/packages")


def test_worker_on_the_cpu_sees_no_gpu() -> None:
    seen = env_allowlist.for_worker({"CUDA_VISIBLE_DEVICES": "0"}, "{}", "", 1, "/packages", "/h")

    assert seen["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("own", "libraries", "seen"),
    [
        ("", (), None),
        ("/opt/lib", (), "/opt/lib"),
        (
            "",
            ("/site/nvidia/cublas/lib", "/site/nvidia/cudnn/lib"),
            "/site/nvidia/cublas/lib:/site/nvidia/cudnn/lib",
        ),
        ("/opt/lib", ("/site/nvidia/cublas/lib",), "/site/nvidia/cublas/lib:/opt/lib"),
    ],
)
def test_cuda_libraries_of_wheels_come_before_those_of_the_system(
    own: str, libraries: tuple[str, ...], seen: Optional[str]
) -> None:
    environ = {"LD_LIBRARY_PATH": own} if own else {}

    assert (
        env_allowlist.for_worker(environ, "{}", "GPU-1", 1, "", "/h", libraries).get("LD_LIBRARY_PATH")
        == seen
    )


def test_worker_on_the_cpu_keeps_its_memory_between_windows_unless_told_otherwise() -> None:
    plain = env_allowlist.for_worker({}, "{}", "", 1, "/packages", "/h")
    tuned = env_allowlist.for_worker({"MALLOC_TOP_PAD_": "1"}, "{}", "", 1, "/packages", "/h")

    assert (plain["MALLOC_MMAP_MAX_"], plain["MALLOC_ARENA_MAX"]) == ("0", "1")
    assert plain["MALLOC_TRIM_THRESHOLD_"] == "17179869184"
    assert (tuned["MALLOC_TOP_PAD_"], tuned["MALLOC_MMAP_MAX_"]) == ("1", "0")


def test_worker_on_a_gpu_has_glibcs_own_rules() -> None:
    assert not [name for name in worker({}) if name.startswith("MALLOC_")]


# --- what libraries write and send ------------------------------------------------------------


@pytest.mark.parametrize("name", ["ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"])
def test_no_child_sends_telemetry_whatever_was_set(name: str) -> None:
    environ = {name: "0"}

    seen = [
        worker(environ),
        env_allowlist.for_gpuwatch(environ),
        env_allowlist.for_model_fetch(environ),
        env_allowlist.for_broker(environ, {}, "{}"),
    ]

    assert [one[name] for one in seen] == ["1"] * 4


def test_worker_has_a_home_of_its_own_and_no_way_to_the_users_caches() -> None:
    seen = worker({"HOME": "/home/me", "XDG_CACHE_HOME": "/home/me/.cache", "HF_HOME": "/home/me/models"})

    assert seen["HOME"] == "/home/of/workers"
    assert "/home/me" not in "".join(seen.values())


@pytest.mark.parametrize("name", ["PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONIOENCODING", "PYTHONVERBOSE"])
def test_what_changes_a_persons_python_session_changes_no_child(name: str) -> None:
    environ = {name: "1", "PYTHONHOME": "/python", "PYTHONUTF8": "1"}

    broker, own = env_allowlist.for_broker(environ, {}, "{}"), worker(environ)

    assert (name in broker, name in own) == (False, False)
    assert (broker["PYTHONUTF8"], own["PYTHONUTF8"], own["PYTHONHOME"]) == ("1", "1", "/python")
