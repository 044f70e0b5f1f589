"""Beats as lines of JSON on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Any, TextIO

from innpar.stream.errors import ConfigError
from innpar.stream.messages.payload import beat_payload, to_json
from innpar.stream.results import Beat, Item

_log = logging.getLogger(__name__)

LINES = 1024
"""Beats that wait for a slow reader."""
LAST_LINES = 0.5
"""s for them once a run has been stopped; one that ends by itself waits for its reader."""


class ReaderGone(Exception):
    """Nobody reads standard output any more, or it cannot be written."""


class JsonSink:
    """One line of JSON a beat, the same bytes as on MQTT; made by `open`.

    A thread writes, so that a reader that pauses (``| less``) holds up neither radio nor broker.

    Attributes:
        dropped: Lines left out because a live source outran its reader, or the run was stopped.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.dropped: int = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=LINES)
        self._gone = False
        # A daemon: a reader that never reads again must not keep the process.
        self._writer = threading.Thread(target=self._write, args=(stream,), daemon=True)

    @classmethod
    @asynccontextmanager
    async def open(cls, stream: TextIO | None) -> AsyncIterator[JsonSink]:
        """Write to `stream` while inside.

        Raises:
            ConfigError: There is no standard output.
        """
        if stream is None:
            raise ConfigError("--json: there is no standard output to write to")
        sink = cls(stream.buffer)
        sink._writer.start()
        try:
            yield sink
            await sink._read()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LINES):
                    await sink._read()
            sink.dropped += sink._unread
            if sink.dropped:
                _log.warning("%d beats were not written: the reader was too slow", sink.dropped)
            with contextlib.suppress(queue.Full):
                sink._lines.put_nowait(None)

    @property
    def _unread(self) -> int:
        return 0 if self._gone else self._lines.unfinished_tasks

    async def _read(self) -> None:
        """Return when the reader has everything, or is gone."""
        while self._unread:  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.005)

    async def send(self, item: Item) -> None:
        """Queue a beat's line; the oldest gives way where the reader is too slow.

        Raises:
            ReaderGone: It reads no more.
        """
        if self._gone:
            raise ReaderGone
        if not isinstance(item, Beat):
            return
        if self._lines.full():
            with contextlib.suppress(queue.Empty):
                self._lines.get_nowait()
                self._lines.task_done()
                self.dropped += 1
        self._lines.put_nowait(to_json(beat_payload(item)) + b"\n")

    async def ready(self) -> None:
        """Return when there is room."""
        while self._lines.full() and not self._gone:  # noqa: ASYNC110 - a thread makes the room
            await asyncio.sleep(0.005)

    def _write(self, stream: IO[bytes]) -> None:
        while (line := self._lines.get()) is not None:
            try:
                stream.write(line)
                if self._lines.empty():
                    stream.flush()
            except OSError as error:
                if not isinstance(error, BrokenPipeError):
                    _log.warning("standard output cannot be written: %s", error.strerror)
                self._gone = True
                silence(stream)
                return
            self._lines.task_done()


def silence(stream: IO[Any]) -> None:
    """Let a stream whose reader has gone lead nowhere: Python flushes what it holds at the end."""
    with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError):
        os.dup2(nowhere.fileno(), stream.fileno())
