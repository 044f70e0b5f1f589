"""Markers of other programs on LSL: all text streams of type ``Markers``, or a selection.

Stimulus programs, tablets and recorders send a text with a time. Each becomes a marker event at
that time on the host's clock; streams may come and go.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from innpar.devices.base import NS, Event, HostClock, Refused
from innpar.devices.lsl.device import predicate
from innpar.devices.lsl.library import library
from innpar.devices.lsl.stamps import PLAUSIBLE

log: logging.Logger = logging.getLogger(__name__)

DEFAULT = "type='Markers'"
POLL = 0.02
"""s between two polls of all streams."""
RENEW = 5.0
"""s between two updates of a stream's clock correction."""
OPENING = 2.0
"""Time limit, s, to obtain a stream's clock correction."""
WAITING = 256
"""Most markers queued; the oldest are dropped and counted."""
LONGEST = 500
"""Characters of a marker that are kept."""


class _MarkerStream:
    """Inlet of one stream of markers.

    Args:
        lsl: The library.
        info: The stream.
    """

    def __init__(self, lsl: Any, info: Any) -> None:
        self.name = str(info.name())
        self._lsl = lsl
        self._inlet = lsl.StreamInlet(info, max_buflen=60, recover=False)
        self._correction = float(self._inlet.time_correction(OPENING))
        self._renewed = time.monotonic()

    def pull(self, shift: int) -> list[tuple[int, str]]:
        """Return (time in ns since the Unix epoch, text) of the new markers.

        Args:
            shift: Offset from LSL's clock to the Unix epoch, ns.
        """
        found = []
        rows, stamps = self._inlet.pull_chunk(0.0, 64)
        now = self._lsl.local_clock()
        for row, stamp in zip(rows, stamps, strict=True):
            at = stamp + self._correction
            # Markers of a sender with another clock are timed by their arrival.
            late = (now - at) * NS
            at = at if -PLAUSIBLE[1] < late < -PLAUSIBLE[0] else now
            text = ", ".join(str(value) for value in row if str(value).strip())[:LONGEST]
            if text:
                found.append((round(at * NS) + shift, text))
        if time.monotonic() - self._renewed > RENEW:
            self._renewed = time.monotonic()
            self._correction = float(self._inlet.time_correction(OPENING))
        return found


class LslMarks:
    """All matching LSL streams of markers.

    Args:
        select: As for ``lsl:``; empty for all streams of type ``Markers``.

    Attributes:
        predicate: The selection as an XPath 1.0 predicate.
        dropped: Markers discarded because the reader was too slow.

    Raises:
        Refused: The selection is invalid.
    """

    def __init__(self, select: str = "") -> None:
        self.predicate: str = predicate(select)[0] if select else DEFAULT
        self.dropped = 0
        self._over = threading.Event()

    @asynccontextmanager
    async def open(self, *, clock: HostClock) -> AsyncIterator[AsyncIterator[Event]]:
        """Receive markers while inside; the iterator yields events without a device, endlessly.

        Raises:
            NotFound: The LSL library cannot be loaded.
            Refused: LSL does not understand the selection.
        """
        lsl = library()
        try:
            resolver = lsl.ContinuousResolver(pred=self.predicate)
        except RuntimeError:
            raise Refused(
                f"lsl: {self.predicate!r} is not a valid XPath 1.0 predicate; select by name=…"
            ) from None
        shift = clock.now() - round(lsl.local_clock() * NS)
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Event](WAITING)

        def put(event: Event) -> None:
            if queue.full():
                queue.get_nowait()
                self.dropped += 1
                log.warning("too many markers at once: %d dropped", self.dropped)
            queue.put_nowait(event)

        def hand_over(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(put, event)

        def work() -> None:
            self._work(lsl, resolver, shift, hand_over)

        thread = threading.Thread(target=work, name="lsl markers", daemon=True)
        self._over.clear()
        thread.start()
        try:
            yield _all_of(queue)
        finally:
            self._over.set()
            await asyncio.to_thread(thread.join)

    def _work(self, lsl: Any, resolver: Any, shift: int, hand_over: Any) -> None:
        streams: dict[str, _MarkerStream] = {}
        lost = (lsl.util.LostError, lsl.util.TimeoutError)
        while not self._over.wait(POLL):
            for info in resolver.results():
                if info.uid() in streams or self._over.is_set():
                    continue
                try:
                    streams[info.uid()] = _MarkerStream(lsl, info)
                except lost as error:
                    log.info("%s: %s", info.name(), error)
            for uid, stream in list(streams.items()):
                try:
                    for at, text in stream.pull(shift):
                        detail = {"text": text, "from": stream.name}
                        hand_over(Event("", "marker", at, at, detail))
                except lost as error:
                    log.info("%s: %s", stream.name, error)
                    del streams[uid]


async def _all_of(queue: asyncio.Queue[Event]) -> AsyncIterator[Event]:
    while True:
        yield await queue.get()
