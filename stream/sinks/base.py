"""The sink protocol: a destination of the pipeline's items."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

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
    """Sink that passes every item to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    async def send(self, item: Item) -> None:
        for sink in self._sinks:
            await sink.send(item)

    async def ready(self) -> None:
        await asyncio.gather(*(sink.ready() for sink in self._sinks))
