"""Where items go that the pipeline gives out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from innpar.stream.results import Item


class Sink(Protocol):
    """Receives every item; `send` never waits on a network."""

    async def send(self, item: Item) -> None: ...

    async def ready(self) -> None:
        """Return when there is room. What can wait does it here; see `devices.is_real_time`."""
        ...


class FanOut:
    """Gives every item to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    async def send(self, item: Item) -> None:
        for sink in self._sinks:
            await sink.send(item)

    async def ready(self) -> None:
        await asyncio.gather(*(sink.ready() for sink in self._sinks))
