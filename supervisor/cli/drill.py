"""Drills: rehearse an EC2 interruption or the fault of a GPU.

Without --serve, the running service handles the notice as if the instance metadata service had sent
it. With --serve, this process is a mock metadata service for a supervisor that is started with
AWS_EC2_METADATA_SERVICE_ENDPOINT. That tests the whole path, HTTP included.
"""

from __future__ import annotations

import argparse
import os
import threading

from supervisor.cli.client.control_client import ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.drill_gpu import drill_gpu
from supervisor.contract.exits import Exit
from supervisor.contract.printable import printable_lines
from supervisor.notices.fake_imds import FakeImds
from supervisor.notices.notice import Kind
from supervisor.settings.load import load_settings


def drill(args: argparse.Namespace) -> int:
    """Send a notice to the running service, or run the mock metadata service."""
    if args.kind == "gpu":
        return drill_gpu(args)
    if args.slot is not None:
        raise CommandFailed(
            f"drill {args.kind} applies to the whole machine and takes no slot. To make a slot's GPU fail: "
            f"drill gpu {args.slot} --xid 79. To drain one slot: drain {args.slot}",
            Exit.USAGE,
        )
    if args.serve is not None:
        return _serve(args)
    request = {"do": "drill", "kind": args.kind, "action": args.action, "in_s": args.in_s}
    reply = ask(load_settings(args.config, for_workers=False).settings.state_dir, request, os.environ)
    print("\n".join(printable_lines(str(reply.get("text") or "done"))))
    return Exit.OK


def _serve(args: argparse.Namespace) -> int:
    """Run a mock instance metadata service until Ctrl-C."""
    try:
        fake = FakeImds(args.serve)
    except OSError as error:
        raise CommandFailed(f"port {args.serve} of 127.0.0.1 can't be used: {error.strerror}") from error
    with fake:
        print(f"AWS_EC2_METADATA_SERVICE_ENDPOINT={fake.endpoint}", flush=True)
        print("Start the service with this variable set. Ctrl-C stops the mock service.", flush=True)
        forever = threading.Event()
        forever.wait(args.after)
        print(f"notice published: {fake.tell(Kind(args.kind), args.action, args.in_s)}", flush=True)
        while True:
            forever.wait(3_600)
