"""A worker that recognises nothing and prints short lines as fast as it can."""

from __future__ import annotations

import os
import threading

from bench.null_worker import main


def flood() -> None:
    while True:
        os.write(1, b"x\n" * 30_000)


if __name__ == "__main__":
    threading.Thread(target=flood, daemon=True).start()
    main()
