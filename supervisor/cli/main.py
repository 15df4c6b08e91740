"""The rem-supervisor command: runs one verb and turns its failures into exit codes.

Each verb has its own file, which is imported only when it is used, because `status` must be
fast. This file handles arguments and exit codes; it does not know what the verbs do.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable, Optional

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.name_clash import explain
from supervisor.cli.client.service_lookup import names_to_add
from supervisor.contract import process_start
from supervisor.contract.exits import Exit
from supervisor.contract.printable import printable_lines

if TYPE_CHECKING:
    import argparse

INTERRUPTED = 130  # as shells report it: 128 + SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one verb and give its exit code. Never raises for anything a user can cause."""
    if (sys.argv[1:] if argv is None else argv)[:1] == ["run"]:
        _stop_in_peace_before_anything_runs()
    if argv is None:  # the process is ours: not called from a test
        process_start.begin()
    clash = explain(sys.path)
    if clash:
        return _complain(clash, Exit.FAILED)
    # Only now: after such a clash, `supervisor/__init__.py` may be supervisord's.
    from supervisor.cli.arguments import parse

    try:
        args = parse(argv)
    except SystemExit as stop:  # argparse has printed the reason: 2, or 0 after --help
        return int(stop.code or 0)
    try:
        _print_any_text()
        if args.verb != "run":  # the service installs its own signal handlers
            _clean_up_when_told_to_end()
        os.environ.update(names_to_add(args.verb, os.environ))
        code = int(_verb(args.verb)(args))
        sys.stdout.flush()
        return code
    except CommandFailed as error:
        return _complain(str(error), error.code)
    except KeyboardInterrupt:
        if argv is None and not select.select([], [sys.stdout], [], 0)[1]:
            _let_go_of_stdout()  # a full pipe without a reader: the flush at exit would block
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        return PIPE_CLOSED
    except OSError as error:
        return _complain(_in_words(error), Exit.FAILED)
    except Exception as error:
        from supervisor.settings.mistakes import SettingsWrong

        if not isinstance(error, SettingsWrong):
            raise
        return _complain(str(error), Exit.SETTINGS_WRONG)


def _let_go_of_stdout() -> None:
    """Redirect stdout to /dev/null: Python flushes it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_words(error: OSError) -> str:
    """Name the file or socket and the system's message, without the error number."""
    if error.strerror is None:
        return str(error)
    names = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))
    ]
    return f"{' -> '.join(names)}: {error.strerror}" if names else error.strerror


def _complain(sentence: str, code: int) -> int:
    for line in printable_lines(sentence):
        print(f"rem-supervisor: {line}", file=sys.stderr)
    return int(code)


def _stop_in_peace_before_anything_runs() -> None:
    """Exit with 0 on a signal that arrives while the service still imports its code, as it does later.

    Importing takes 0.1 s, and more on a cold disk; the loop replaces these handlers with its own.
    `os._exit`, because an exception inside a half-done import may turn into another one. Nothing runs yet.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(Exit.OK))
    # There is nothing to reload yet; a terminal that closes does not stop the service later either.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _clean_up_when_told_to_end() -> None:
    """Handle SIGTERM and a closed terminal as Ctrl-C; a signal that `nohup` ignores stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _print_any_text() -> None:
    """Print names and transcripts even if the terminal's encoding lacks some characters."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _verb(name: str) -> Callable[[argparse.Namespace], int]:
    """Import the file of one verb and give its function."""
    if name == "run":
        return _run
    if name == "demo":
        from supervisor.cli.demo import demo

        return demo.demo
    if name == "submit":
        from supervisor.cli import submit

        return submit.submit
    if name in ("jobs", "redrive"):
        from supervisor.cli import jobs

        return jobs.jobs if name == "jobs" else jobs.redrive
    if name == "doctor":
        from supervisor.cli.doctor import doctor

        return doctor.doctor
    if name == "drill":
        from supervisor.cli import drill

        return drill.drill
    if name == "config":
        from supervisor.cli import config

        return config.config
    from supervisor.cli import control

    verb: Callable[[argparse.Namespace], int] = getattr(control, name)
    return verb


def _run(args: argparse.Namespace) -> int:
    """Run the service until a signal stops it; the process exits here."""
    from supervisor.contract import logline
    from supervisor.service.run import run_service
    from supervisor.settings.load import load_settings

    flags = {} if args.fake_gpus is None else {"devices.fake_gpus": args.fake_gpus}
    code = run_service(load_settings(args.config, flags))
    # A normal exit would flush stdout first: that blocks if its reader is slow, and exits 120 if it is gone.
    logline.die_quietly(code)
    return code
