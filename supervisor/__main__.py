"""`python -m supervisor` is `rem-supervisor`."""

import sys

from supervisor.cli import main

if __name__ == "__main__":
    sys.exit(main())
