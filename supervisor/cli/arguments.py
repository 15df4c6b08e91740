"""What each verb of the command line takes, and what --help says about it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from supervisor import __version__
from supervisor.contract.job_folder import TRANSCRIPT_FORMATS

# Recovery actions that a simulated driver can report; `unknown` is an older driver, which reports none.
RECOVERY_ACTIONS = ("none", "gpu-reset", "node-reboot", "drain-and-reset", "unknown")
_IDS_WITH_A_DASH = "put ids that begin with - after --"
_EXITS = "exit codes: 0 success, 1 error, 2 usage, 3 not running, 4 degraded, 78 invalid settings"


def parser() -> argparse.ArgumentParser:
    """Build the whole command line."""
    top = argparse.ArgumentParser(
        prog="rem-supervisor",
        description="Supervises workers that transcribe audio jobs from a queue.",
        epilog=f"{_EXITS}\n\nRun rem-supervisor VERB --help for help on a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"rem-supervisor {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    _service_verbs(verbs)
    _job_verbs(verbs)
    _control_verbs(verbs)
    _drill_verb(verbs)
    _insight_verbs(verbs)
    return top


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Parse a command line. Exits as argparse does, with a hint where its own message does not help."""
    top = parser()
    args, unknown = top.parse_known_args(argv)
    if unknown:
        hint = _IDS_WITH_A_DASH if args.verb == "redrive" else ""
        top.error(f"unrecognized arguments: {' '.join(unknown)}{hint and f' ({hint})'}")
    return args


_Verbs = argparse._SubParsersAction  # argparse gives the type no public name


def _verb(
    verbs: _Verbs[argparse.ArgumentParser], name: str, says: str, examples: str
) -> argparse.ArgumentParser:
    shown = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    verb = verbs.add_parser(
        name,
        help=says,
        description=f"{says[0].upper()}{says[1:]}.",
        epilog=f"examples:\n{shown}\n\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--config", metavar="FILE", help="settings file (./config.toml, if it exists)")
    return verb


def _service_verbs(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    run = _verb(
        verbs,
        "run",
        "run the service until SIGTERM or Ctrl-C; logs go to stdout",
        """rem-supervisor run
        rem-supervisor run --config /etc/rem-supervisor/config.toml
        rem-supervisor run --fake-gpus 4""",
    )
    run.add_argument(
        "--fake-gpus",
        type=int,
        metavar="N",
        help="simulate N GPUs whose workers compute on the CPU, for tests; `drill gpu` makes them fail",
    )
    demo = _verb(
        verbs,
        "demo",
        "transcribe the sample recordings; needs no account and no configuration",
        "rem-supervisor demo\nWHISPER_MODEL=base rem-supervisor demo --output /tmp/demo",
    )
    demo.add_argument(
        "--output", metavar="DIR", default="demo-output", help="folder for the transcripts (./demo-output)"
    )
    demo.add_argument(
        "--keep",
        action="store_true",
        help="keep the demo's state directory and log, and print where they are",
    )


def _job_verbs(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    submit = _verb(
        verbs,
        "submit",
        "add recordings to the queue; with --wait, wait for their transcripts",
        """rem-supervisor submit meeting.mp3
        rem-supervisor submit *.wav --wait --format srt --output subtitles/
        rem-supervisor submit note.wav --wait --format json | jq .fullText""",
    )
    submit.add_argument("files", nargs="+", metavar="FILE", help="audio file in any common format")
    submit.add_argument(
        "--wait",
        action="store_true",
        help="show progress, then print the transcripts or write them to --output",
    )
    submit.add_argument(
        "--format", choices=TRANSCRIPT_FORMATS, help="format of the transcripts with --wait (txt)"
    )
    submit.add_argument(
        "--output", metavar="DIR", help="write transcripts to DIR/<name>.<format> instead of stdout"
    )
    submit.add_argument("--language", metavar="XX", help="language spoken, such as en or de (detected)")
    submit.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option for these recordings only, by faster-whisper's name: task=translate, beam_size=1, "
        "word_timestamps=true, vad_parameters.threshold=0.3; may be repeated",
    )
    submit.add_argument(
        "--force", action="store_true", help="transcribe again files that already have a transcript"
    )
    jobs = _verb(
        verbs,
        "jobs",
        "list jobs that are waiting, in flight or failed",
        "rem-supervisor jobs\nrem-supervisor jobs --failed --json",
    )
    jobs.add_argument("--failed", action="store_true", help="list failed jobs only")
    jobs.add_argument("--json", action="store_true", help="print one JSON object per line")
    redrive = _verb(
        verbs,
        "redrive",
        "put failed jobs back into the queue",
        "rem-supervisor redrive 2f6c0d1e\nrem-supervisor redrive --all\nrem-supervisor redrive -- -1f6c0d1e",
    )
    redrive.add_argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        help=f"ids that `jobs --failed` shows; {_IDS_WITH_A_DASH}",
    )
    redrive.add_argument("--all", action="store_true", help="redrive every failed job")


def _control_verbs(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    status = _verb(
        verbs,
        "status",
        "show slots, devices, jobs and queue of the running service",
        "rem-supervisor status\nrem-supervisor status --watch\nrem-supervisor status --json | jq .totals",
    )
    status.add_argument("--json", action="store_true", help="print the status as JSON")
    status.add_argument("--watch", action="store_true", help="refresh every second; Ctrl-C to quit")
    drain = _verb(
        verbs,
        "drain",
        "stop accepting jobs on slots or the whole service; running jobs are finished or suspended",
        "rem-supervisor drain\nrem-supervisor drain gpu0 --deadline 60",
    )
    drain.add_argument("slots", nargs="*", metavar="SLOT", help="default: all slots")
    drain.add_argument(
        "--deadline",
        type=_seconds,
        metavar="S",
        help="jobs that can't be finished within S seconds are suspended and returned to the queue at once "
        "([supervisor] drain_s); below 5, workers are killed",
    )
    resume = _verb(
        verbs,
        "resume",
        "accept jobs again after a drain",
        "rem-supervisor resume\nrem-supervisor resume gpu0",
    )
    resume.add_argument("slots", nargs="*", metavar="SLOT", help="default: all slots")
    for name, says in (
        (
            "restart",
            "restart a slot's worker after its jobs are finished, or suspended to continue elsewhere",
        ),
        ("release", "retry a held slot and say whether it starts"),
    ):
        verb = _verb(verbs, name, says, f"rem-supervisor {name} gpu0")
        verb.add_argument("slot", metavar="SLOT", help="name of a slot, as shown by `status`")
    _verb(verbs, "reload", "reload settings without interrupting jobs", "rem-supervisor reload")


def _drill_verb(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    drill = _verb(
        verbs,
        "drill",
        "simulate an EC2 interruption or a fault of a simulated GPU",
        """rem-supervisor drill spot --in 120
        rem-supervisor drill spot --action hibernate
        rem-supervisor drill asg
        rem-supervisor drill spot --serve 1338 --after 30
        rem-supervisor drill gpu gpu1 --xid 79
        rem-supervisor drill gpu gpu1 --recovery-action gpu-reset
        rem-supervisor drill gpu gpu1 --heal""",
    )
    drill.add_argument(
        "kind",
        choices=("spot", "rebalance", "asg", "gpu"),
        help="spot interruption, rebalance recommendation, Auto Scaling termination, or GPU fault",
    )
    _gpu_drill(drill)
    drill.add_argument(
        "--in",
        type=_seconds,
        metavar="S",
        dest="in_s",
        default=120.0,
        help="for spot: seconds until the interruption (120); below 5, workers are killed at once",
    )
    drill.add_argument(
        "--action",
        choices=("terminate", "stop", "hibernate"),
        default="terminate",
        help="for spot: what EC2 does to the instance (terminate)",
    )
    drill.add_argument(
        "--serve",
        type=_port,
        metavar="PORT",
        help="run a mock EC2 metadata service on 127.0.0.1 until Ctrl-C; 0: any free port",
    )
    drill.add_argument(
        "--after",
        type=_seconds,
        metavar="S",
        default=0.0,
        help="with --serve: publish the notice after S seconds (0)",
    )


def _gpu_drill(drill: argparse.ArgumentParser) -> None:
    drill.add_argument("slot", nargs="?", metavar="SLOT", help="for gpu: the slot whose GPU fails")
    drill.add_argument("--xid", type=int, metavar="N", help="for gpu: simulate this XID error")
    drill.add_argument(
        "--recovery-action",
        metavar="A",
        choices=RECOVERY_ACTIONS,
        help="for gpu: simulate this recovery action: %(choices)s",
    )
    drill.add_argument(
        "--held-bytes", type=int, metavar="N", help="for gpu: keep N bytes of GPU memory allocated"
    )
    drill.add_argument("--lost", action="store_true", help="for gpu: the GPU falls off the bus")
    drill.add_argument(
        "--hang", type=_seconds, metavar="S", help="for gpu: the driver does not answer for S seconds"
    )
    drill.add_argument("--heal", action="store_true", help="for gpu: end the simulated fault")


def _port(text: str) -> int:
    """Read a TCP port; argparse prints what is wrong with it."""
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _insight_verbs(verbs: _Verbs[argparse.ArgumentParser]) -> None:
    doctor = _verb(
        verbs,
        "doctor",
        "check the host, settings and the running service; suggest fixes",
        "rem-supervisor doctor\nrem-supervisor doctor --json",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object per line")
    _verb(
        verbs,
        "config",
        "show the settings in effect and where each came from",
        "rem-supervisor config\nrem-supervisor config --config /etc/rem-supervisor/config.toml",
    )


def _seconds(text: str) -> float:
    """Read a length of time; argparse prints what is wrong with it."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400 seconds")
    return seconds
