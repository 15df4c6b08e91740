"""`python -m workerproc`: the worker process, or one of the verbs fetch, check and format.

Large libraries are imported only after the process is bound to its supervisor and signals are blocked.
"""

from __future__ import annotations

import sys

from supervisor.contract import process_start
from supervisor.contract.exits import Exit

USAGE = """usage: python -m workerproc fetch MODEL [--engine NAME]  find a model, download it where needed
       python -m workerproc check [--model-path FOLDER [--options JSON]] [--engine NAME]
                                                        try the engine, a model on the CPU, and options
       python -m workerproc format FORMAT < FILE        a transcript as json, txt, srt, vtt or tsv
Without a verb it is a worker, which only rem-supervisor can start."""


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    if not arguments:
        return _worker()
    verb, rest = arguments[0], arguments[1:]
    rest, engine = _engine_of(rest)
    if verb == "fetch" and len(rest) == 1 and engine:
        from workerproc.process import startup
        from workerproc.verbs import model_download

        startup.die_with_supervisor()
        return model_download.main(rest[0], engine)
    if (
        verb == "check"
        and rest[::2] in ([], ["--model-path"], ["--model-path", "--options"])
        and not len(rest) % 2
        and engine
    ):
        from workerproc.verbs import check

        model_path, options = (*rest[1::2], None, None)[:2]
        return check.main(model_path, options, engine)
    if verb == "format" and len(rest) == 1:
        from workerproc.verbs import format_verb

        return format_verb.main(rest[0])
    print(USAGE, file=sys.stderr)
    return Exit.USAGE


def _engine_of(arguments: list[str]) -> tuple[list[str], str]:
    """Take `--engine NAME` off the end; the name is empty if there is no such engine."""
    from supervisor.contract.engine import engines

    if arguments[-2:-1] != ["--engine"]:
        return arguments, engines.DEFAULT
    return arguments[:-2], arguments[-1] if arguments[-1] in engines.NAMES else ""


def _worker() -> int:
    from supervisor.contract import child_bootstrap, codec
    from workerproc.process import startup

    try:
        startup.die_with(child_bootstrap.parent_pid())
        startup.hold_signals()
        settings = child_bootstrap.settings(child_bootstrap.WorkerSettings)
    except KeyError:
        print(USAGE, file=sys.stderr)
        return Exit.USAGE
    except codec.BadValue as error:
        print(f"worker settings make no sense: {error}", file=sys.stderr)
        return Exit.SETTINGS_WRONG
    startup.dump_stacks_to(settings.stacks_path)
    startup.run_on(settings.cpus)

    from workerproc.jobs.main import be_worker

    be_worker(settings)


if __name__ == "__main__":
    (process_start.begin if sys.argv[1:] else process_start.begin_service)()
    sys.exit(main(sys.argv[1:]))
