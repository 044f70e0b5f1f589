"""An event loop in simulated time: idle time is skipped, and work takes as long as it says."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _SkippingSelector(selectors.SelectSelector):
    """Selector that advances the loop's time instead of waiting."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("everything waits, and for nothing")
        self.loop.now += max(timeout, 0.0)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Event loop whose results do not depend on the computer's speed.

    Attributes:
        now: s.
    """

    def __init__(self) -> None:
        selector = _SkippingSelector()
        selector.loop = self
        self.now = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        """Hold the loop for so long."""
        self.now += seconds


def run_simulated(loop: SimulatedLoop, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)
