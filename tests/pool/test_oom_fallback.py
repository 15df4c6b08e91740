"""Out of memory: smaller rounds, then a fresh process with a smaller compute type; nobody learns it twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.placement.slot_plan import SlotSpec
from supervisor.pool import status
from supervisor.pool.pool import Pool
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.oom_fallback import Load, OomFallback, OomLimits, does_not_fit
from supervisor.service.model_fetch import NAME as MODEL
from supervisor.service.provisioning import Provisioner
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings
from tests.pool.simulated_host import Host
from tests.pool.test_status import facts as facts_of

ENGINE = {"model": "large-v3", "device": "cuda", "compute_type": "float16"}


def test_rounds_only_ever_get_smaller() -> None:
    ladder = OomFallback()

    assert ladder.learn_rows("GPU-a", "large-v3", 8)
    assert ladder.learn_rows("GPU-a", "large-v3", 4)
    assert not ladder.learn_rows("GPU-a", "large-v3", 6)
    assert ladder.limits_of("GPU-a", "large-v3").rows == 4
    assert ladder.limits_of("GPU-b", "large-v3") == OomLimits() == ladder.limits_of("GPU-a", "tiny")


@pytest.mark.parametrize(
    ("kind", "compute_type", "then"),
    [
        ("cuda", "float32", "float16"),
        ("cuda", "float16", "int8_float16"),
        ("cuda", "bfloat16", "int8_bfloat16"),
        ("cuda", "int8_float16", ""),
        ("cpu", "float32", "int8"),
        ("cpu", "int8_float32", ""),
        ("", "", ""),  # a worker that never said what it computes as
    ],
)
def test_each_compute_type_is_followed_by_the_next_smaller_one_of_its_device(
    kind: str, compute_type: str, then: str
) -> None:
    assert OomFallback().step_down("GPU-a", "large-v3", kind, compute_type).compute_type == then


def test_what_was_learnt_is_said_in_a_sentence_and_nothing_where_nothing_lacked() -> None:
    ladder = OomFallback()
    ladder.learn_rows("", "small", 2)
    ladder.step_down("", "small", "cpu", "float32")
    ladder.step_down("", "small", "cpu", "int8_float32")

    assert ladder.limits_of("", "small").words == (
        "memory ran out: batches of 2 at most, computing as int8, 2 fresh starts"
    )
    assert OomLimits().words == ""


def test_worker_that_halved_its_rounds_is_remembered_by_its_device_and_shown() -> None:
    host = Host(workers=2).begin().run(5)
    host.pool.members["w0"].facts = ENGINE

    host.processes["w0"].say(m.Room(5, 0, rows=4, rows_fit=4))

    assert host.pool.memory.limits_of("", "large-v3").rows == 4
    shown = {slot["name"]: slot for slot in status.take(host.pool, facts_of(host))["slots"]}
    assert (shown["w0"]["batch_size"], shown["w0"]["memory"]) == (4, "memory ran out: batches of 4 at most")
    assert shown["w1"]["memory"] is None


def test_recording_that_does_not_fit_alone_is_handed_back_and_a_fresh_process_takes_the_next() -> None:
    host = Host(workers=1).begin("huge").run(5)
    host.pool.members["w0"].facts = ENGINE
    first = host.slot("w0").pid
    host.failures["huge"] = m.Failure.OUT_OF_MEMORY

    host.run(60)

    assert host.pool.memory.limits_of("", "large-v3").compute_type == "int8_float16"
    assert (host.state("w0"), host.slot("w0").failures) == ("ready", 0)
    assert host.slot("w0").pid != first
    assert not host.leases


def test_model_that_does_not_fit_is_loaded_as_the_next_smaller_type_and_held_where_there_is_none() -> None:
    host = Host(workers=1)
    member = host.pool.members["w0"]
    member.load = Load("large-v3", "cuda", "float16")
    host.begin().run(0.1)

    host.kill("w0", Exit.OUT_OF_MEMORY)
    assert host.pool.memory.limits_of("", "large-v3").compute_type == "int8_float16"
    assert (host.state("w0"), host.slot("w0").failures) == ("starting", 0)

    member.load = Load("large-v3", "cuda", "int8_float16")  # as the crew's next recipe has it
    host.kill("w0", Exit.OUT_OF_MEMORY)
    assert host.state("w0") == "held"
    assert (
        "large-v3 as int8_float16, the smallest there is. turbo would need about 3.6"
        in host.slot("w0").reason
    )

    host.run(sl.Policy().probe_s + 60)
    assert host.state("w0") == "ready", "memory was given back"


def test_kernels_kill_for_memory_while_loading_steps_down_and_is_an_ordinary_failure_at_the_last_rung() -> (
    None
):
    host = Host(workers=1)
    member = host.pool.members["w0"]
    member.load = Load("small", "cpu", "float32")
    host.begin().run(0.1)

    host.kill("w0", -9, out_of_memory=True)
    assert host.pool.memory.limits_of("", "small").compute_type == "int8"
    assert host.slot("w0").failures == 0

    member.load = Load("small", "cpu", "int8")
    host.run(0.1)
    host.kill("w0", -9, out_of_memory=True)
    assert (host.state("w0"), host.slot("w0").failures) == ("backoff", 1)
    assert "not enough memory to load model small" in host.slot("w0").reason


def test_what_would_fit_is_named_with_its_size() -> None:
    assert "base would need about 0.5 instead of 1.2 GiB" in does_not_fit(Load("small", "cpu", "int8"))
    assert "There is no smaller model" in does_not_fit(Load("tiny.en", "cpu", "int8"))


def test_next_process_begins_with_what_fits() -> None:
    made: list[SlotSpec] = []

    def make_worker(settings: Any, environ: Any, place: SlotSpec, path: str) -> Any:
        made.append(place)
        return place

    settings = Settings(
        devices=DevicesSettings(device="cpu", cpu_slots=1),
        transcription=TranscriptionSettings(model="tiny.en", batch_size=8),
    )
    pool = Pool()
    pool.devices = m.Devices(())
    effects: Any = SimpleNamespace(child_specs={}, children={})
    provisioner = Provisioner(settings, {}, pool, effects, make_worker)
    provisioner.fetches[MODEL].path = "/models/tiny.en"
    provisioner.create_slots()
    assert [place.batch_size for place in made] == [8]

    pool.memory.learn_rows("", "tiny.en", 2)
    pool.memory.step_down("", "tiny.en", "cpu", "float32")
    provisioner.refit("cpu0")

    assert [(place.batch_size, place.compute_type) for place in made] == [(8, ""), (2, "int8")]
    assert effects.child_specs == {"cpu0": made[-1]}
