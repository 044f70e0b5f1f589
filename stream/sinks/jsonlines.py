"""Beats as JSON lines on standard output."""

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
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.encoding import to_json
from innpar.stream.results import Beat, Item
from innpar.stream.sinks.base import RunOver

_log = logging.getLogger(__name__)

LINES = 1024
"""Lines that wait for a slow reader."""
LAST_LINES = 0.5
"""Seconds for those once a run is stopped; a run that ends by itself waits for its reader."""


class ReaderGone(RunOver):
    """Standard output was closed by its reader, or cannot be written."""


class JsonSink:
    """Sink that writes one line of JSON per beat, the same bytes as on MQTT; see `open`.

    A thread writes, so that a paused reader (``| less``) delays neither radio nor broker.

    Attributes:
        dropped: Lines dropped because a live source outran the reader, or the run was stopped.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.dropped: int = 0
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=LINES)
        self._closed = False
        # A daemon: a reader that has stopped reading must not keep the process alive.
        self._writer = threading.Thread(target=self._write, args=(stream,), daemon=True)

    @classmethod
    @asynccontextmanager
    async def open(cls, stream: TextIO | None) -> AsyncIterator[JsonSink]:
        """Write to `stream` while inside.

        Raises:
            ConfigError: There is no standard output.
        """
        if stream is None:
            raise ConfigError("--json: there is no standard output; redirect it to a file or pipe")
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
                _log.warning(
                    "%d beats were not written: the reader of standard output was too slow",
                    sink.dropped,
                )
            with contextlib.suppress(queue.Full):
                sink._lines.put_nowait(None)

    @property
    def _unread(self) -> int:
        return 0 if self._closed else self._lines.unfinished_tasks

    async def _read(self) -> None:
        """Wait until the reader has everything, or is gone."""
        while self._unread:  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.005)

    async def send(self, item: Item) -> None:
        """Queue a beat's line; drop the oldest where the queue is full.

        Raises:
            ReaderGone: Standard output was closed.
        """
        if self._closed:
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
        """Wait until the queue has room."""
        while self._lines.full() and not self._closed:  # noqa: ASYNC110 - a thread makes the room
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
                self._closed = True
                silence(stream)
                return
            self._lines.task_done()


def silence(stream: IO[Any]) -> None:
    """Redirect a closed stream to nowhere, so that Python's flush at exit does not fail."""
    with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError):
        os.dup2(nowhere.fileno(), stream.fileno())
