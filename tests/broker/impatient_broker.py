"""The broker process of tests that would else wait for its longest pauses: two of them take a second.

The pauses' own lengths are shown in virtual time: `test_misconfigured.py` and `test_rules.py`.
"""

from __future__ import annotations

from supervisor.broker import __main__ as broker
from supervisor.broker.receiving import receiving
from supervisor.broker.rules import lease_timing

IMPATIENT = ("-m", "tests.broker.impatient_broker")

if __name__ == "__main__":
    receiving.PROVE_AGAIN_S = 1.0
    lease_timing.KEEP_FRESH_S = 1.0
    broker.main()
