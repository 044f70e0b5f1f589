"""The sink protocol: a destination of the pipeline's items."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from innpar.devices import NoticeCode, notice
from innpar.errors import InnparError
from innpar.stream.results import Item

log: logging.Logger = logging.getLogger(__name__)


class RunOver(Exception):
    """Raised by a sink that ends the run."""


class Sink(Protocol):
    """Destination of items; `send` never waits for a network."""

    async def send(self, item: Item) -> None:
        """Take an item."""
        ...

    async def ready(self) -> None:
        """Wait until the sink can take more items. Only sources that can be paused call this."""
        ...


class FanOut:
    """Sink that passes every item to several sinks.

    Args:
        sinks: The sinks.
        apart: Whether an item that one sink fails on still reaches the others and is reported,
            rather than raising the error.
    """

    def __init__(self, sinks: Sequence[Sink], *, apart: bool = False) -> None:
        self._sinks = tuple(sinks)
        self._apart = apart
        self._reported: set[tuple[int, type[Exception]]] = set()

    async def send(self, item: Item) -> None:
        for number, sink in enumerate(self._sinks):
            try:
                await sink.send(item)
            except (InnparError, RunOver):
                raise
            except Exception as error:
                if not self._apart:
                    raise
                await self._report(number, error, item)

    async def ready(self) -> None:
        await asyncio.gather(*(sink.ready() for sink in self._sinks))

    async def _report(self, number: int, error: Exception, item: Item) -> None:
        """Report the first error of a kind of a sink, to the other sinks."""
        kind = type(error)
        if (number, kind) in self._reported:
            return
        self._reported.add((number, kind))
        name = type(self._sinks[number]).__name__
        log.error("%s could not take a %s", name, type(item).__name__, exc_info=error)
        text = f"{name} could not take a {type(item).__name__} ({kind.__name__}): see the log"
        at = time.time_ns()
        for other, sink in enumerate(self._sinks):
            if other != number:
                with contextlib.suppress(Exception):  # its own errors are reported by `send`
                    await sink.send(notice(item.device, at, NoticeCode.OUTPUT_FAILED, text))
