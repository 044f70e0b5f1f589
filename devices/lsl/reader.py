"""An LSL inlet on a thread of its own.

liblsl blocks; its calls are kept shorter than `SLICE`,
so that closing never waits longer. liblsl's own recovery is left off: finding a stream again by
ourselves works without a source id too, and tells a new outlet from a link that came back.
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
from innpar.devices.lsl.inbox import LslInbox, StreamGone
from innpar.devices.lsl.library import LslInfo, describe, library

log: logging.Logger = logging.getLogger(__name__)

SLICE = 0.1
"""s. The longest that liblsl may block at a time."""

POLL = 0.02
"""s between two looks at which streams have answered."""

COLLECT = 0.8
"""s. After a first stream has answered, others that match have so long to do so too: those beyond
the multicast group are only asked half a second later."""

STALL = 5.0
"""s without a sample before the stream is looked for anew."""

OPENING = 5.0
"""s for each step of opening a stream; the first clock correction takes two thirds of one."""

CORRECT_EVERY = 0.5
"""s between two looks at the clock correction, which liblsl renews every five."""


class Reader(threading.Thread):
    """Finds a stream, pulls from it, and finds it again whenever it is gone.

    Args:
        predicate: Which stream, as an XPath 1.0 predicate.
        shown: The same in a person's words.
        wait: Seconds to look for it the first time.
        inbox: Where everything goes.
        clock: The host's.
        ended: Called when the thread is about to end.
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
        # Both clocks are the computer's monotonic one, so they never drift apart.
        self._shift = clock.now() - round(self._lsl.local_clock() * NS)

    def stop(self) -> None:
        """Ask the thread to end, which it does within about `SLICE`."""
        self._over.set()

    def run(self) -> None:
        """Until `stop`."""
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
        """Return the one stream that matches, None when stopped.

        Raises:
            NotFound: None does. Refused: Several do, or the predicate makes no sense.
        """
        infos: list[Any] = []
        until = time.monotonic() + self._wait
        resolver = self._resolver(self._predicate)
        looks = round(COLLECT / POLL)  # a busy computer takes longer for them, and so does liblsl
        while not self._over.is_set() and looks and (infos or time.monotonic() < until):
            self._over.wait(POLL)
            infos = resolver.results()
            looks -= bool(infos)
        if self._over.is_set():
            return None
        if not infos:
            raise NotFound(
                f"no LSL stream {self._shown} for {self._wait:g} s: start the program "
                "that sends it, in the same network and past the firewall (UDP 16571-16604, "
                "TCP 16572-16604); `innpar-stream doctor` lists what can be seen"
            )
        if len(infos) > 1:
            lines = "\n".join(f"  {describe(info).line}" for info in infos)
            raise Refused(
                f"{len(infos)} LSL streams match; say which, as in lsl:name=… or lsl:source_id=…\n"
                + lines
            )
        return infos[0]

    def _resolver(self, predicate: str) -> Any:
        try:
            return self._lsl.ContinuousResolver(pred=predicate)
        except RuntimeError:
            raise Refused(f"lsl: {predicate!r} is no predicate that LSL understands") from None

    def _again(self, found: LslInfo) -> Any:
        """Return the stream's newest outlet once there is one; None when stopped."""
        resolver = self._resolver(found.again)
        while not self._over.is_set():
            same = [i for i in resolver.results() if i.channel_count() == found.channels]
            if same:
                return max(same, key=lambda info: float(info.created_at()))
            self._over.wait(POLL)
        return None

    def _follow(self, info: Any) -> tuple[str, LslInfo]:
        """Pull until the stream is gone; return why it is, and what it was."""
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
        """Call with a short timeout until it succeeds or `STALL` is over; None when stopped."""
        until = time.monotonic() + OPENING
        while not self._over.is_set():
            try:
                return call(SLICE)
            except self._lsl.util.TimeoutError:
                if time.monotonic() > until:
                    raise
        return None

    def _pull(self, inlet: Any, correction: float) -> str:
        """Pull samples into the inbox; return why no more came."""
        heard = corrected = time.monotonic()
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
                heard = now
                arrival = round(self._lsl.local_clock() * NS) + self._shift
                moved = round(correction * NS) + self._shift
                self._inbox.put(LslBlock(stamps, data.astype(np.float64), moved, arrival))
            elif now - heard > STALL:
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
    """Read a stream on a thread, which has ended on leaving."""
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
