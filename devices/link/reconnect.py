"""One opening of a live sensor: links come and go, the samples' place in time stays.

`ReconnectingDevice` connects, reconnects for as long as the device is open, restarts a sensor that
has fallen silent, and reports all of it as events. A subclass knows how a link is made and which
commands go over it. `LiveDevice` is the `Device` in front of it.
"""

from __future__ import annotations

import itertools
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, Protocol

from innpar.devices.base import (
    NS,
    BadPacket,
    Chunk,
    DeviceError,
    Event,
    EventKind,
    HostClock,
    Lost,
    NotFound,
    OutOfReach,
    Refused,
    Source,
    Tap,
)
from innpar.devices.link.decoder import Decoder
from innpar.devices.link.inbox import Arrival
from innpar.devices.notices import NoticeCode, notice

USELESS = 8 * NS
"""ns after which data without a sample are reported."""

log: logging.Logger = logging.getLogger(__name__)


class Inlet(Protocol):
    """The receiving end of a link; see `Inbox`."""

    @property
    def dropped(self) -> int: ...

    async def next(self, deadline: int) -> Arrival | None: ...


class Named(Protocol):
    """The device that a connection belongs to."""

    @property
    def id(self) -> str: ...


def backoff(attempt: int, *, first: float = 0.5, longest: float = 30.0) -> int:
    """Return the pause before the next attempt, ns: doubling, with jitter.

    Jitter keeps several devices that were lost together from coming back together.
    """
    return int(NS * min(longest, first * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0))


def missing(sensor: str, remedy: str) -> str:
    """Return the message for a Bluetooth sensor that is out of reach.

    Args:
        sensor: Its kind, and its name or address where one was given.
        remedy: What the user can do.
    """
    return f"{sensor} not found: {remedy}; `innpar-stream scan` lists the sensors in reach"


class ReconnectingDevice(ABC):
    """A connection to a sensor that outlives its links; enter `opened`.

    Args:
        device: The device it belongs to.
        clock: The host clock.
        tap: Receives every notification before it is decoded.
        wait: Seconds to look for the sensor on entering.
        stall: Seconds of silence after which the sensor is restarted; None for sensors that are
            silent most of the time.
        every: Seconds between two calls of `_keep_alive`; 0 for none.
        patience: Restarts in a row before the link is given up; None for no limit.
        longest: Longest pause between two attempts to reconnect, seconds.
    """

    silence_code = NoticeCode.NO_SAMPLES
    silence_text = "no samples came; is it worn?"
    """Code and text of the notice after a restart."""
    useless_text = "it sends, but no samples: put it on, and check that its model is supported"
    """Text of the notice when data arrive for `USELESS` without a sample."""

    def __init__(
        self,
        device: Named,
        clock: HostClock,
        tap: Tap | None,
        *,
        wait: float = 0.0,
        stall: float | None = 6.0,
        every: float = 0.0,
        patience: int | None = 2,
        longest: float = 30.0,
    ) -> None:
        self._named = device
        self._clock = clock
        self._tap = tap
        self._search_seconds = wait
        self._stall = stall
        self._every = every
        self._patience = patience
        self._longest = longest
        self._linked = AsyncExitStack()
        self._inlet: Inlet | None = None
        self._stalls = 0
        self._due = 0
        self._useless_reported = False

    # Hooks of a subclass

    @abstractmethod
    async def _connect_link(self, stack: AsyncExitStack) -> Inlet:
        """Return a link over which the sensor sends; its cleanup goes on `stack`.

        Raises:
            DeviceError: The link could not be made.
        """

    @property
    @abstractmethod
    def _decoder(self) -> Decoder:
        """Decoder of the sensor; exists once a link has been made."""

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """Return the detail of the ``connected`` event."""

    @abstractmethod
    async def _restart(self) -> None:
        """Restart a sensor that has fallen silent.

        Raises:
            Refused: The sensor declined; it is tried again later.
            Lost: The sensor does not answer.
        """

    async def _keep_alive(self) -> None:  # noqa: B027 - most sensors need no such command
        """Send the periodic command that keeps the sensor sending."""

    def _disconnect_reason(self, error: DeviceError) -> str:
        """Return the reason for a lost link, as shown to the user."""
        return str(error)

    def _is_actionable(self, error: DeviceError) -> bool:
        """Whether the user has to act; a sensor out of reach comes back without help."""
        return isinstance(error, Refused | NotFound) and not isinstance(error, OutOfReach)

    def _on_disconnect(self) -> list[Chunk | Event]:
        """Return the items left over from the lost link."""
        left = self._decoder.flush()
        self._decoder.interrupted("link lost", relinked=True)
        return left

    def _receive(self, arrival: Arrival) -> None:
        """Take a notification as a sign of life."""
        self._stalls = 0
        self._reset_deadline()

    # Life of the connection

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Connect on entering, disconnect on leaving; see `Device.open`."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._unlink)
            await self._first_connect()
            yield await stack.enter_async_context(aclosing(self._items()))

    async def _first_connect(self) -> None:
        """Connect for the first time, retrying until the search time is over."""
        last = self._clock.now() + int(self._search_seconds * NS)
        for attempt in itertools.count():
            try:
                return await self._connect()
            except (Lost, BadPacket) as lost:
                log.info("%s: %s", self._named.id, lost)
                pause = backoff(attempt)
                if self._clock.now() + pause > last:
                    raise NotFound(f"{self._named.id}: {lost}") from lost
                await self._clock.sleep_until(self._clock.now() + pause)

    async def _connect(self) -> None:
        """Make the link; an error leaves nothing of it behind."""
        async with AsyncExitStack() as stack:
            inlet = await self._connect_link(stack)
            self._linked = stack.pop_all()
        self._inlet = inlet
        log.info("%s: connected, %s", self._named.id, self._describe())

    async def _unlink(self) -> None:
        """Undo the making of the link."""
        linked, self._linked, self._inlet = self._linked, AsyncExitStack(), None
        await linked.aclose()

    async def _items(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield until closed; every loss of the link is reported and mended."""
        while True:
            if self._inlet is None:
                async with aclosing(self._reconnect()) as events:
                    async for event in events:
                        yield event
            assert self._inlet is not None
            yield self._event("connected", **self._describe())
            try:
                async with aclosing(self._while_linked(self._inlet)) as items:
                    async for item in items:
                        yield item
            except DeviceError as error:  # even a refusal may be gone by the next attempt
                yield self._event("disconnected", why=self._disconnect_reason(error))
            for item in self._on_disconnect():
                yield item
            await self._unlink()

    async def _while_linked(self, inlet: Inlet) -> AsyncGenerator[Chunk | Event, None]:
        """Yield until the link is lost; restart the sensor whenever it falls silent."""
        dropped = self._stalls = 0
        self._reset_deadline()
        keep_alive_at = self._clock.now()
        useless_since: int | None = None
        while True:
            now = self._clock.now()
            if self._every and now >= keep_alive_at:
                await self._keep_alive()
                keep_alive_at = now + int(self._every * NS)
            arrival = await inlet.next(min(self._due, keep_alive_at) if self._every else self._due)
            if arrival is None:
                if self._clock.now() >= self._due:
                    yield await self._restart_silent()
                continue
            self._receive(arrival)
            if inlet.dropped > dropped:  # the oldest are dropped, so the gap precedes this arrival
                dropped = inlet.dropped
                self._decoder.interrupted("too slow")
                text = f"too slow: {dropped} notifications dropped"
                yield self._notice(NoticeCode.NOTIFICATIONS_DROPPED, text)
            if self._tap is not None:
                self._tap(arrival.channel, arrival.time, arrival.data)
            items = self._decode(arrival)
            for item in items:
                yield (replace(item, arrival=arrival.time) if isinstance(item, Chunk) else item)
            if self._stall is None or any(isinstance(item, Chunk) for item in items):
                useless_since = None
            elif useless_since is None:
                useless_since = arrival.time
            elif arrival.time - useless_since - USELESS >= 0 and not self._useless_reported:
                self._useless_reported = True
                yield self._notice(NoticeCode.UNREADABLE, self.useless_text)

    def _decode(self, arrival: Arrival) -> list[Chunk | Event]:
        try:
            return self._decoder.push(arrival.channel, arrival.time, arrival.data)
        except BadPacket as bad:
            log.info("%s: %s: %s", self._named.id, bad, bad.raw[:256].hex())
            # Of a sensor that sends now and then, each is a reading that was lost.
            if self._decoder.bad > 1 and self._stall is not None:
                return []
            text = f"a notification cannot be decoded: {bad}"
            return [self._notice(NoticeCode.UNDECODABLE, text)]

    def _reset_deadline(self) -> None:
        self._due = self._clock.now() + int((3600.0 if self._stall is None else self._stall) * NS)

    async def _restart_silent(self) -> Event:
        """Restart the silent sensor; after `patience` restarts in a row give the link up.

        Raises:
            Lost: Restarting has not helped, or the sensor does not answer.
        """
        self._reset_deadline()
        if self._stall is None:
            return self._notice(NoticeCode.NO_NEWS, "nothing received for an hour")
        self._stalls += 1
        self._decoder.interrupted("stalled")
        if self._patience is not None and self._stalls > self._patience:
            raise Lost("the sensor is connected but sends nothing: connecting anew")
        try:
            await self._restart()
        except Refused as refused:
            self._stalls = 1
            self._due = self._clock.now() + backoff(4)
            return self._notice(NoticeCode.RESTART_REFUSED, str(refused))
        return self._notice(self.silence_code, self.silence_text)

    async def _reconnect(self) -> AsyncGenerator[Event, None]:
        """Try until connected; yield a notice for each new error that the user can act on."""
        reported = ""
        for attempt in itertools.count():
            pause = backoff(attempt, longest=self._longest)
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                await self._connect()
            except DeviceError as error:
                log.info("%s: attempt %d: %s", self._named.id, attempt + 1, error)
                if self._is_actionable(error) and str(error) != reported:
                    reported = str(error)
                    yield self._notice(NoticeCode.RECONNECT_FAILED, reported)
            else:
                return

    def _event(self, kind: EventKind, **detail: Any) -> Event:
        now = self._clock.now()
        return Event(self._named.id, kind, now, now, detail)

    def _notice(self, code: NoticeCode, text: str) -> Event:
        return notice(self._named.id, self._clock.now(), code, text)


class LiveDevice(ABC):
    """A worn sensor as a `Device`: opening it connects, and reconnects until it is closed.

    Attributes:
        kind: Name of the sensor's row in the table of sensors, as in ``--device``.
        who: Name, number or address that was asked for, or the end of it; empty for any.
        polarity, site: See `Device`.
    """

    source: Source = "live"
    kind: str
    who: str
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"

    @property
    @abstractmethod
    def id(self) -> str:
        """Name in topics and files; final once the device is open."""

    @abstractmethod
    def _connection(self, clock: HostClock, tap: Tap | None) -> ReconnectingDevice:
        """Return a new connection, not yet opened."""

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find the sensor, connect and start it; see `Device.open`.

        Raises:
            NotFound: The sensor, or the way to it (Bluetooth, network, port), is not there.
            Refused: The sensor or the system declined; the message names the remedy.
        """
        async with self._connection(clock, tap).opened() as items:
            yield items
