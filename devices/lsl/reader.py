"""LSL inlet on its own thread.

Calls of liblsl block; they are limited to `SLICE`, so that closing never waits longer. liblsl's own
recovery is off: searching for the stream again also works without a source id, and distinguishes a
new outlet from a restored link.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from innpar.devices.base import NS, HostClock, NotFound, Refused
from innpar.devices.lsl.decoder import LslBlock
from innpar.devices.lsl.inbox import LslInbox, StreamElsewhere, StreamGone
from innpar.devices.lsl.library import LslInfo, describe, library

log: logging.Logger = logging.getLogger(__name__)

SLICE = 0.1
"""Time limit, s, of each call of liblsl."""

POLL = 0.02
"""s between two polls of the search."""

COLLECT = 0.8
"""Time, s, for further matching streams to answer after the first one: those beyond the multicast
group are queried only half a second later."""

STALL = 5.0
"""s without samples after which the stream is searched for again."""

OPENING = 5.0
"""Time limit, s, of each step of opening a stream; the first clock correction takes 2/3 s."""

ELSEWHERE = 3.0
"""s after which streams that match, but are not the lost one, are reported."""

CORRECT_EVERY = 0.5
"""s between two queries of the clock correction, which liblsl renews every 5 s."""


class Reader(threading.Thread):
    """Thread that finds a stream, pulls its samples, and searches again after a loss.

    Args:
        predicate: Selection, an XPath 1.0 predicate.
        shown: The selection in words, for messages.
        wait: Time limit of the first search, s.
        inbox: Queue for all results.
        clock: The host's.
        ended: Called just before the thread ends.
    """

    def __init__(
        self,
        predicate: str,
        shown: str,
        wait: float,
        inbox: LslInbox,
        clock: HostClock,
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name="lsl", daemon=True)
        self._lsl = library()
        self._predicate = predicate
        self._shown = shown
        self._wait = wait
        self._inbox = inbox
        self._ended = ended
        self._over = threading.Event()
        self._since = 0.0  # last sample of the stream, s on its sender's clock
        # Both clocks are based on the computer's monotonic one, so they never drift apart.
        self._shift = clock.now() - round(self._lsl.local_clock() * NS)

    def stop(self) -> None:
        """Make the thread end within about `SLICE`."""
        self._over.set()

    def run(self) -> None:
        """Read until `stop`."""
        try:
            info = self._first()
            while not self._over.is_set() and info is not None:
                why, found = self._follow(info)
                self._inbox.put(StreamGone(why))
                info = self._again(found)
        except Exception as error:
            self._inbox.put(error)
        finally:
            self._ended()

    def _first(self) -> Any:
        """Return the one stream that matches; None when stopped.

        Raises:
            NotFound: No stream matches.
            Refused: Several match, or the predicate is invalid.
        """
        infos: list[Any] = []
        until = time.monotonic() + self._wait
        resolver = self._resolver(self._predicate)
        looks = round(COLLECT / POLL)  # a count, as a busy computer slows liblsl down as well
        while not self._over.is_set() and looks and (infos or time.monotonic() < until):
            self._over.wait(POLL)
            infos = resolver.results()
            looks -= bool(infos)
        if self._over.is_set():
            return None
        if not infos:
            raise NotFound(
                f"no LSL stream {self._shown} for {self._wait:g} s: start the sending program, "
                "in the same network and with an open firewall (UDP 16571-16604, TCP "
                "16572-16604); `innpar-stream doctor` lists the streams found"
            )
        if len(infos) > 1:
            lines = "\n".join(f"  {describe(info).line}" for info in infos)
            raise Refused(
                f"{len(infos)} LSL streams match; choose one with lsl:name=… or lsl:source_id=…\n"
                + lines
            )
        return infos[0]

    def _resolver(self, predicate: str) -> Any:
        try:
            return self._lsl.ContinuousResolver(pred=predicate)
        except RuntimeError:
            raise Refused(
                f"lsl: {predicate!r} is not a valid XPath 1.0 predicate; select by name=…"
            ) from None

    def _again(self, found: LslInfo) -> Any:
        """Return the outlet of the same stream once there is one; None when stopped.

        The user's selection decides which outlets count; see `LslInfo.likeness` for the rest.
        """
        resolver = self._resolver(self._predicate)
        begin, reported = time.monotonic(), False
        while not self._over.is_set():
            seen = [(info, describe(info)) for info in resolver.results()]
            ranked = [(found.likeness(d, since=self._since), d.created, i) for i, d in seen]
            best = max((r for r in ranked if r[0]), key=lambda r: r[:2], default=None)
            if best is not None:
                return best[2]
            if seen and not reported and time.monotonic() - begin > ELSEWHERE:
                reported = True
                self._inbox.put(StreamElsewhere(tuple(d.line for _, d in seen)))
            self._over.wait(POLL)
        return None

    def _follow(self, info: Any) -> tuple[str, LslInfo]:
        """Pull until the stream is lost; return the reason and the stream's description."""
        found = describe(info)
        inlet = self._lsl.StreamInlet(info, max_buflen=60, recover=False, as_numpy=True)
        try:
            if not found.text:
                self._patiently(inlet.open_stream)
            full = self._patiently(inlet.info)
            if full is not None:
                found = describe(full)
            if found.text:
                self._inbox.put(found)
                return "its values are text", found
            correction = self._patiently(inlet.time_correction)
            if correction is not None:
                self._inbox.put(found)
                return self._pull(inlet, correction), found
        except (self._lsl.util.LostError, self._lsl.util.TimeoutError) as error:
            log.info("%s: %s", found.name, error)
        finally:
            del inlet
        return "the outlet was closed", found

    def _patiently(self, call: Callable[[float], Any]) -> Any:
        """Call with a short timeout until it succeeds, for up to `OPENING`; None when stopped."""
        until = time.monotonic() + OPENING
        while not self._over.is_set():
            try:
                return call(SLICE)
            except self._lsl.util.TimeoutError:
                if time.monotonic() > until:
                    raise
        return None

    def _pull(self, inlet: Any, correction: float) -> str:
        """Pull samples into the inbox; return the reason why they ended."""
        last_arrival = corrected = time.monotonic()
        while not self._over.is_set():
            try:
                data, stamps = inlet.pull_chunk(SLICE, 1024, min_samples=1)
            except self._lsl.util.LostError:
                return "the outlet was closed"
            now = time.monotonic()
            if now - corrected > CORRECT_EVERY:
                corrected = now
                correction = self._corrected(inlet, correction)
            if len(stamps):
                last_arrival = now
                arrival = round(self._lsl.local_clock() * NS) + self._shift
                moved = round(correction * NS) + self._shift
                self._since = self._lsl.local_clock() - correction
                self._inbox.put(LslBlock(stamps, data.astype(np.float64), moved, arrival))
            elif now - last_arrival > STALL:
                return f"nothing came for {STALL:g} s"
        return "closed"

    def _corrected(self, inlet: Any, before: float) -> float:
        try:
            return float(inlet.time_correction(SLICE / 10))
        except self._lsl.util.TimeoutError:
            return before


@asynccontextmanager
async def reading(
    predicate: str, shown: str, wait: float, clock: HostClock
) -> AsyncIterator[LslInbox]:
    """Read a stream on a thread while inside; arguments as for `Reader`."""
    inbox, ended = LslInbox(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    reader = Reader(predicate, shown, wait, inbox, clock, end)
    reader.start()
    try:
        yield inbox
    finally:
        reader.stop()
        try:
            await ended.wait()
        finally:
            reader.join()
