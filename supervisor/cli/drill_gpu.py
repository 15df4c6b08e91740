"""`drill gpu`: make a simulated GPU fail or recover.

Writes the GPU's behaviour into the file that gpuwatch reads (`run --fake-gpus`). The file can also be
edited by hand. Real GPUs are not affected: there is no such file for them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from supervisor.cli.client.control_client import ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.contract import clock
from supervisor.contract.exits import Exit
from supervisor.processes.child_specs import PRETEND_FILE
from supervisor.settings.load import load_settings

_NO_FAULT = "name a fault: --xid, --recovery-action, --held-bytes, --hang, --lost; or --heal"


def drill_gpu(args: argparse.Namespace) -> int:
    """Change the behaviour of one simulated GPU and print it."""
    faults = (args.xid, args.recovery_action, args.held_bytes, args.hang)
    if args.slot is None:
        raise CommandFailed("name the slot whose GPU is to fail: drill gpu SLOT --xid 79", Exit.USAGE)
    if not (args.heal or args.lost or any(fault is not None for fault in faults)):
        raise CommandFailed(_NO_FAULT, Exit.USAGE)
    own = load_settings(args.config, for_workers=False).settings
    status = ask(own.state_dir, {"do": "status"}, os.environ).get("status")
    index = _index_of(status if isinstance(status, dict) else {}, args.slot)
    path = Path(own.state_dir) / PRETEND_FILE
    scripts = read_scripts(path)
    script = changed(scripts.get(str(index), {}), args, clock.wall_unix_s())
    write_scripts(path, {**scripts, str(index): script})
    print(f"Simulated GPU {index} of {args.slot} {told(script, args)}.")
    print("The service reacts within seconds: rem-supervisor status")
    return Exit.OK


def told(script: dict[str, Any], args: argparse.Namespace) -> str:
    """Describe the GPU's new behaviour."""
    if args.heal:
        return "is healthy again"
    what = [f"reports XID {args.xid}"] if args.xid is not None else []
    if script.get("recovery_action"):
        what.append(f"reports recovery action {script['recovery_action']}")
    if script.get("held_bytes"):
        what.append(f"keeps {script['held_bytes']} bytes allocated")
    if args.hang is not None:
        what.append(f"has a driver that does not answer for {args.hang:g} s")
    if script.get("lost"):
        what.append("has fallen off the bus")
    return ", ".join(what)


def changed(script: dict[str, Any], args: argparse.Namespace, now_unix_s: float) -> dict[str, Any]:
    """Give a GPU's behaviour after this command. XIDs stay in the list; gpuwatch reports the new ones."""
    xids = script.get("xids", [])
    if args.heal:
        return {"xids": xids, "healed": len(xids)} if xids else {}
    fresh = dict(script)
    if args.xid is not None:
        fresh["xids"] = [*xids, args.xid]
    if args.recovery_action is not None:
        fresh["recovery_action"] = args.recovery_action
    if args.held_bytes is not None:
        fresh["held_bytes"] = args.held_bytes
    if args.hang is not None:
        fresh["hang_until_unix_s"] = round(now_unix_s + args.hang, 1)
    if args.lost:
        fresh["lost"] = True
    return fresh


def read_scripts(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def write_scripts(path: Path, scripts: dict[str, Any]) -> None:
    """Replace the file atomically: gpuwatch may read it at any time."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(scripts), encoding="utf-8")
    fresh.replace(path)


def _index_of(status: dict[str, Any], slot: Any) -> int:
    supervisor = status.get("supervisor") or {}
    if not supervisor.get("fake_gpus"):
        raise CommandFailed(
            "only simulated GPUs can fail on demand: start the service with run --fake-gpus N"
        )
    devices = {one.get("name"): one.get("device") or {} for one in status.get("slots", [])}
    index = devices.get(slot, {}).get("index")
    if index is None:
        names = ", ".join(name for name, device in devices.items() if device.get("index") is not None)
        raise CommandFailed(
            f"there is no slot {slot!r} with a simulated GPU; known slots: {names or 'none yet'}"
        )
    return int(index)
