"""Markers of other programs on LSL: all text streams of type ``Markers``, or a selection.

Stimulus programs, tablets and recorders send a text with a time. Each becomes a marker event at
that time on the host's clock; streams may come and go.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from inspect import signature
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


def text_of(value: object) -> str:
    """Return a value of a marker as one line of text.

    Bytes that are not UTF-8 become U+FFFD, and control characters spaces.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    controls = ("Cc", "Cs", "Zl", "Zp")
    return "".join(" " if unicodedata.category(c) in controls else c for c in text).strip()


class _MarkerStream:
    """Inlet of one stream of markers.

    Args:
        lsl: The library.
        info: The stream.
    """

    def __init__(self, lsl: Any, info: Any) -> None:
        self.name = text_of(info.name())
        self._lsl = lsl
        self._inlet = lsl.StreamInlet(info, max_buflen=60, recover=False)
        # Text comes as bytes then: LSL does not say how it is encoded. Not before pylsl 1.18.
        able = "as_numpy" in signature(self._inlet.pull_chunk).parameters
        text = info.channel_format() == lsl.cf_string
        self._undecoded = {"as_numpy": True} if able and text else {}
        self._correction = float(self._inlet.time_correction(OPENING))
        self._renewed = time.monotonic()

    def pull(self, shift: int) -> list[tuple[int, str]]:
        """Return (time in ns since the Unix epoch, text) of the new markers.

        Args:
            shift: Offset from LSL's clock to the Unix epoch, ns.
        """
        found = []
        rows, stamps = self._inlet.pull_chunk(0.0, 64, **self._undecoded)
        now = self._lsl.local_clock()
        for row, stamp in zip(rows, stamps, strict=True):
            at = stamp + self._correction
            # Markers of a sender with another clock are timed by their arrival.
            late = (now - at) * NS
            at = at if -PLAUSIBLE[1] < late < -PLAUSIBLE[0] else now
            words = (text_of(value) for value in row)
            text = ", ".join(word for word in words if word)[:LONGEST]
            if text:
                found.append((round(float(at) * NS) + shift, text))
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

        The iterator raises the error that ended the thread, if one did.

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
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Event | Exception](WAITING)

        def put(event: Event | Exception) -> None:
            if queue.full():
                queue.get_nowait()
                self.dropped += 1
                log.warning("too many markers at once: %d dropped", self.dropped)
            queue.put_nowait(event)

        def hand_over(event: Event | Exception) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(put, event)

        def work() -> None:
            try:
                self._work(lsl, resolver, shift, hand_over)
            except Exception as error:  # raised where the markers are read
                hand_over(error)

        thread = threading.Thread(target=work, name="lsl markers", daemon=True)
        self._over.clear()
        thread.start()
        try:
            yield _all_of(queue)
        finally:
            self._over.set()
            await asyncio.to_thread(thread.join)

    def _work(
        self, lsl: Any, resolver: Any, shift: int, hand_over: Callable[[Event], None]
    ) -> None:
        streams: dict[str, _MarkerStream | None] = {}
        while not self._over.wait(POLL):
            for info in resolver.results():
                if (uid := info.uid()) not in streams and not self._over.is_set():
                    self._attempt(lsl, streams, uid, partial(_MarkerStream, lsl, info))
            for uid, stream in list(streams.items()):
                if stream is None:
                    continue

                def pull(stream: _MarkerStream = stream) -> _MarkerStream:
                    for at, text in stream.pull(shift):
                        detail = {"text": text, "from": stream.name}
                        hand_over(Event("", "marker", at, at, detail))
                    return stream

                self._attempt(lsl, streams, uid, pull)

    def _attempt(
        self,
        lsl: Any,
        streams: dict[str, _MarkerStream | None],
        uid: str,
        action: Callable[[], _MarkerStream],
    ) -> None:
        """Act on one stream; an error ends that stream only, and for good if it is none of LSL's.

        Args:
            lsl: The library.
            streams: UID → stream; None for one that is given up.
            uid: Of the stream.
            action: What to do; returns the stream.
        """
        try:
            streams[uid] = action()
        except (lsl.util.LostError, lsl.util.TimeoutError) as error:
            log.info("markers of stream %s: %s", uid, error)
            streams.pop(uid, None)
        except UnicodeDecodeError:
            log.warning("markers of stream %s are not UTF-8: update pylsl to read them", uid)
        except Exception:
            log.exception("markers of stream %s cannot be read: restart its sender", uid)
            streams[uid] = None


async def _all_of(queue: asyncio.Queue[Event | Exception]) -> AsyncIterator[Event]:
    while True:
        item = await queue.get()
        if isinstance(item, Exception):
            raise item
        yield item
