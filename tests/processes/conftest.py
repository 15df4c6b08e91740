"""What tests of single children share with those of whole services."""

from __future__ import annotations

from tests.end_to_end.conftest import play as play
from tests.end_to_end.conftest import strays as strays
