"""Where items go that the pipeline gives out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from typing import IO, Any, Protocol

from .estimate import Estimate, Item
from .payload import beat_payload, to_json

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Receives every item; `send` never waits on a network."""

    async def send(self, item: Item) -> None: ...

    async def ready(self) -> None:
        """Return when there is room. A file source waits here, a live one must not."""
        ...


class JsonSink:
    """One line of JSON a beat, the same bytes as on MQTT.

    Args:
        stream: Binary, e.g. ``sys.stdout.buffer``. When its reader has gone the rest is not
            written, and `closed` says so.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.closed = False

    async def send(self, item: Item) -> None:
        if self.closed or not isinstance(item, Estimate):
            return
        try:
            self._stream.write(to_json(beat_payload(item)) + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            self.closed = True
            silence(self._stream)
            _log.info("nobody reads the beats on standard output any more")

    async def ready(self) -> None:
        """Return at once: writing waits for its reader by itself."""


def silence(stream: IO[Any]) -> None:
    """Let a stream whose reader has gone lead nowhere: Python flushes what it holds at the end."""
    with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError):
        os.dup2(nowhere.fileno(), stream.fileno())


class FanOut:
    """Gives every item to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    async def send(self, item: Item) -> None:
        for sink in self._sinks:
            await sink.send(item)

    async def ready(self) -> None:
        await asyncio.gather(*(sink.ready() for sink in self._sinks))
