"""Entry point of `python -m supervisor.broker`: the broker process, or one verb if an argument is given."""

from __future__ import annotations

import sys

from supervisor.contract import child_bootstrap, process_start


def main() -> None:
    """Serve where no verb is given."""
    process_start.hide_memory()  # AWS credentials are in its environment
    if len(sys.argv) == 1 or sys.argv[1] == child_bootstrap.INSTANCE_OPTION:
        process_start.begin_service()
        from supervisor.broker.service import serve

        serve()
        return
    process_start.begin()
    from supervisor.broker.verbs.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
