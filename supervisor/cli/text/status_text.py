"""The status as text: JSON in, lines of up to 100 columns out. PURE.

A value that is missing or has the wrong type is shown as `-`: the supervisor may be an
older or newer version.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from supervisor.cli.text.text_format import (
    Paint,
    audio_text,
    bar,
    bytes_text,
    count_text,
    factor_text,
    number,
    percent_text,
    plain,
    printable,
    shorten,
    span_text,
    table,
)
from supervisor.contract import degraded

WIDTH = 100
STATE_STYLES = {
    "ready": "good",
    "running": "good",
    "starting": "warn",
    "draining": "warn",
    "drained": "warn",
    "stopping": "warn",
    "backoff": "bad",
    "held": "bad",
    "killing": "bad",
    "stopped": "faint",
}
SLOT_COLUMNS = ("SLOT", "STATE", "PID", "UP", "RESTARTS", "RSS", "DONE", "FAILED", "SPEED", "DEVICE")
# Keys of the status that are printed differently. `ready`: audio that is downloaded and waits for a worker.
_COUNTED = {"in_flight": "in flight", "ready": "fetched", "released": "returned to queue"}
JOB_COLUMNS = ("JOB", "SLOT", "TRY", "PROGRESS", "", "AUDIO")


def status_text(status: Mapping[str, Any], paint: Paint = plain) -> str:
    """Draw one status: the supervisor and its problems, slots, running jobs, the queue, totals."""
    supervisor = _mapping(status.get("supervisor"))
    blocks = [
        _head(status, paint),
        _loud(supervisor, paint),
        _slots(status, paint),
        _jobs(status, paint),
        _tail(status),
        _troubles(supervisor, paint),
        _newest_crash(status, paint),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _head(status: Mapping[str, Any], paint: Paint) -> list[str]:
    """Describe the service: first its state and problems, then its pid, model, version and so on."""
    supervisor = _mapping(status.get("supervisor"))
    state, wrong = printable(supervisor.get("state")) or "state unknown", degraded.reasons(status)
    deadline_s = number(supervisor.get("drain_deadline_s"))
    ends_soon = state in ("draining", "stopping") and deadline_s is not None
    deadline = f" (deadline in {span_text(deadline_s)})" if ends_soon else ""
    if state == "running" and degraded.is_starting(status):
        state = "starting"
    facts = _facts(supervisor)
    head = f"rem-supervisor {paint(state, STATE_STYLES.get(state, 'bold'))}{deadline}"
    if not wrong:
        plain_head = f"rem-supervisor {state}{deadline}"
        first, *rest = _joined([plain_head, *facts])
        why = (paint(line, "warn") for line in _why(supervisor))
        return [head + first[len(plain_head) :], *rest, *why]
    word = "degraded" if state in ("running", "starting") else f"{state}, degraded"
    room = WIDTH - len(f"rem-supervisor {word}{deadline}: ")
    lines = [f"rem-supervisor {paint(word, 'bad')}{deadline}: {shorten(printable(wrong[0]), room)}"]
    lines += [paint(shorten(f"degraded: {printable(one)}", WIDTH), "bad") for one in wrong[1:]]
    return [*lines, *_joined(facts), *(paint(line, "warn") for line in _why(supervisor))]


def _joined(parts: list[str]) -> list[str]:
    """Join parts with dots between them, in as many lines as they take."""
    lines = parts[:1]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= WIDTH:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return [shorten(line, WIDTH) for line in lines]


def _facts(supervisor: Mapping[str, Any]) -> list[str]:
    facts = [f"pid {count_text(supervisor.get('pid'))}", f"up {span_text(supervisor.get('uptime_s'))}"]
    for key in ("backend", "profile", "model"):
        if supervisor.get(key):
            facts.append(f"{key} {printable(supervisor[key])}")
    if supervisor.get("compute_type") not in (None, "", "auto"):
        facts.append(f"compute type {printable(supervisor['compute_type'])}")
    if supervisor.get("version"):
        facts.append(f"version {printable(supervisor['version'])}")
    if supervisor.get("host"):
        facts.append(f"host {printable(supervisor['host'])}")
    return facts


def _why(supervisor: Mapping[str, Any]) -> list[str]:
    """Say why it drains or stops, and show EC2's notice, which a resumed service may still have."""
    reason, notice = printable(supervisor.get("reason")), _mapping(supervisor.get("notice"))
    lines = [f"Reason: {reason}"] if reason else []
    if notice:
        left = (
            "withdrawn" if notice.get("withdrawn") is True else f"{span_text(notice.get('deadline_s'))} left"
        )
        words = [printable(notice.get(key)) for key in ("kind", "action")]
        lines.append(f"Notice: {' '.join(words)}, {left}{' (drill)' if notice.get('drill') is True else ''}")
    return [shorten(line, WIDTH) for line in lines]


def _loud(supervisor: Mapping[str, Any], paint: Paint) -> list[str]:
    """Warn about test settings (simulated GPUs, CPU inference), and show problems of devices."""
    lines = []
    if supervisor.get("fake_gpus"):
        lines.append(f"WARNING: {count_text(supervisor['fake_gpus'])} simulated GPUs (--fake-gpus)")
    if supervisor.get("compute") == "cpu":
        lines.append("WARNING: CPU inference is forced on all slots (REM_COMPUTE or [devices] compute)")
    problem = printable(supervisor.get("devices_problem"))
    wrapped = textwrap.wrap(f"devices: {problem}", WIDTH) if problem else []
    return [paint(line, "bad") for line in lines] + [paint(line, "warn") for line in wrapped]


def _slots(status: Mapping[str, Any], paint: Paint) -> list[str]:
    slots = [_mapping(slot) for slot in _items(status.get("slots"))]
    if not slots:
        return ["no slots yet"]
    header, *rows = table(
        SLOT_COLUMNS, [_slot_cells(slot) for slot in slots], "PID UP RESTARTS RSS DONE FAILED SPEED"
    )
    lines = [paint(shorten(header, WIDTH), "faint")]
    for slot, row in zip(slots, rows):
        state = _state(slot)
        lines.append(
            shorten(row, WIDTH).replace(f" {state} ", f" {paint(state, STATE_STYLES.get(state, 'bold'))} ", 1)
        )
        lines += [paint(line, "faint") for line in _reason(slot)]
        if slot.get("memory"):
            lines += [paint(line, "warn") for line in _indented(printable(slot["memory"]))]
    return lines


def _slot_cells(slot: Mapping[str, Any]) -> list[str]:
    works = slot.get("kind", "worker") == "worker"
    return [
        shorten(printable(slot.get("name")) or "?", 16),
        _state(slot),
        count_text(slot.get("pid")),
        span_text(slot.get("uptime_s")),
        count_text(slot.get("restarts")),
        bytes_text(slot.get("rss_bytes")),
        count_text(slot.get("done")) if works else "",
        count_text(slot.get("failed")) if works else "",
        factor_text(slot.get("realtime_factor")) if works else "",
        _device(_mapping(slot.get("device")), slot.get("batch_size"), bool(slot.get("fit_windows"))),
    ]


def _state(slot: Mapping[str, Any]) -> str:
    return shorten(printable(slot.get("state")) or "?", 12)


def _device(device: Mapping[str, Any], batch_size: Any, has_fit_windows: bool) -> str:
    """`NVIDIA L4 unhealthy 3.1G/22G 67C 88% 72W`: the known values; health unless it is ok."""
    parts = [printable(device.get("name")) or printable(device.get("uuid"))]
    if (number(batch_size) or 0) > 1:
        parts.append(f"batch {count_text(batch_size)}")
    if has_fit_windows:
        parts.append("fit windows")
    if device.get("health") not in (None, "", "ok"):
        unknown = device["health"] == "unknown"
        parts.append("health unknown" if unknown else _health(device["health"]))
    if number(device.get("memory_used_bytes")) is not None:
        parts.append(
            f"{bytes_text(device['memory_used_bytes'])}/{bytes_text(device.get('memory_total_bytes'))}"
        )
    if number(device.get("temperature_c")) is not None:
        parts.append(f"{device['temperature_c']:.0f}C")
    if number(device.get("utilization_ratio")) is not None:
        parts.append(percent_text(device["utilization_ratio"]).replace(" ", ""))
    if number(device.get("power_w")) is not None:
        parts.append(f"{device['power_w']:.0f}W")
    parts += [printable(reason) for reason in _items(device.get("throttle"))]
    return " ".join(part for part in parts if part)


def _health(word: Any) -> str:
    return "unhealthy" if word == "sick" else printable(word)


def _reason(slot: Mapping[str, Any]) -> list[str]:
    """Give the reason of a slot's state, unless it is ready."""
    reason = printable(slot.get("reason"))
    if not reason or slot.get("state") == "ready":
        return []
    if slot.get("state") == "held" and number(slot.get("state_s")) is not None:
        reason = f"for {span_text(slot['state_s'])}: {reason}"
    return _indented(reason)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _jobs(status: Mapping[str, Any], paint: Paint) -> list[str]:
    rows = [
        [
            shorten(printable(job.get("id")) or "?", 36),
            shorten(printable(slot.get("name")), 12),
            count_text(job.get("attempt")),
            *_progress(job),
            audio_text(job.get("audio_s")),
        ]
        for slot in map(_mapping, _items(status.get("slots")))
        for job in map(_mapping, _items(slot.get("jobs")))
    ]
    if not rows:
        return []
    header, *lines = table(JOB_COLUMNS, rows, "TRY AUDIO")
    return [paint(header, "faint"), *lines]


def _progress(job: Mapping[str, Any]) -> tuple[str, str]:
    """Give a job's progress; before transcription, that of decoding or voice detection."""
    phase, ratio = job.get("phase"), job.get("progress_ratio")
    if phase in ("decoding", "listening"):
        return str(phase), percent_text(job.get("phase_ratio"))
    return bar(ratio), percent_text(ratio)


def _tail(status: Mapping[str, Any]) -> list[str]:
    queue, totals = _mapping(status.get("queue")), _mapping(status.get("totals"))
    return [
        "queue   " + _named(queue, ("waiting", "in_flight", "ready")),
        "totals  " + _named(totals, ("done", "failed", "released", "crashed")),
    ]


def _troubles(supervisor: Mapping[str, Any], paint: Paint) -> list[str]:
    """List the outages that the broker reports, and how long each has lasted."""
    ages = _mapping(supervisor.get("troubles_s"))
    lines = []
    for where, detail in _mapping(supervisor.get("troubles")).items():
        text = f"{printable(where)}{_since(ages.get(where))}: {printable(detail)}"
        # A settings problem is printed in full; of an outage, one line is enough.
        lines += (
            textwrap.wrap(text, WIDTH) if where == degraded.PROVEN else [shorten(f"problem: {text}", WIDTH)]
        )
    return [paint(line, "warn") for line in lines]


def _since(age_s: Any) -> str:
    return f" (for {span_text(age_s)})" if number(age_s) is not None else ""


def _newest_crash(status: Mapping[str, Any], paint: Paint) -> list[str]:
    """Describe the newest crash of a child process, and the path of its record."""
    crash = _mapping(next(iter(_items(status.get("crashes"))), None))
    if not crash:
        return []
    ago = (
        f"{span_text(crash['ago_s'])} ago" if number(crash.get("ago_s")) is not None else "at an unknown time"
    )
    parts = [printable(crash.get("ended")) or printable(crash.get("death"))]
    if _items(crash.get("xids")):
        parts.append(f"XID {', '.join(map(printable, _items(crash['xids'])))}")
    if crash.get("out_of_memory") is True:
        parts.append("out of memory")
    if _items(crash.get("jobs")):
        parts.append(f"jobs: {', '.join(map(printable, _items(crash['jobs'])))}")
    lines = [shorten(f"last crash: {printable(crash.get('slot'))}, {ago}: {'; '.join(parts)}", WIDTH)]
    if crash.get("path"):
        lines.append(f"  record: {printable(crash['path'])}")
    return [paint(line, "faint") for line in lines]


def _named(counts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return " · ".join(f"{count_text(counts.get(name))} {_COUNTED.get(name, name)}" for name in names)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
