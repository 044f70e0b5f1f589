"""Wait for a condition that another process or thread brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 100.0
"""s; a limit for what never comes, not a measure: other processes share the computer."""


def wait_for(condition: Callable[[], object], why: Callable[[], object] = str) -> None:
    """Return once `condition` holds; fail with `why` after `LONGEST`."""
    deadline = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
