"""One opening of a live sensor: links come and go, the samples' place in time stays.

`ReconnectingDevice` tries, retries and reconnects for ever, restarts what has fallen silent, and
reports all of it as events.
What is particular (how a link is made, what is said over it) is its subclass's.
"""

from __future__ import annotations

import itertools
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Protocol

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
    Refused,
    Tap,
)
from innpar.devices.link.inbox import Arrival
from innpar.devices.notices import NoticeCode, notice

log: logging.Logger = logging.getLogger(__name__)


class Decoder(Protocol):
    """Turns what one sensor sends into chunks and events; no input or output of its own.

    Attributes:
        bad: Arrivals that could not be decoded.
    """

    bad: int

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Take what was received at `arrival`, ns since the Unix epoch.

        Raises:
            BadPacket: It cannot be decoded; it has been counted and the next one may be pushed.
        """
        ...

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Hear why samples may be missing, and whether the link was made anew."""
        ...

    def flush(self) -> list[Chunk | Event]:
        """Return what was still held back."""
        ...


class TimedDecoder(Decoder, Protocol):
    """A `Decoder` that can also say when something arrived, for recordings that do not tell."""

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return when a notification came, ns, judging by itself and those before it.

        Raises:
            BadPacket: It cannot be decoded.
        """
        ...


class Inlet(Protocol):
    """A link as its reader sees it; see `Inbox`."""

    @property
    def dropped(self) -> int: ...

    async def next(self, deadline: int) -> Arrival | None: ...


class Named(Protocol):
    """Whose life it is."""

    @property
    def id(self) -> str: ...


def backoff(attempt: int, *, first: float = 0.5, longest: float = 30.0) -> int:
    """Return how long to wait before trying again, ns: doubling, with jitter.

    Jitter keeps several devices that were lost together from coming back together.
    """
    return int(NS * min(longest, first * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0))


class ReconnectingDevice(ABC):
    """See the module; enter `opened`.

    Args:
        device: Whose.
        clock: The host's.
        tap: Receives every arrival before it is decoded.
        wait: Seconds to look for the device on entering.
        stall: Seconds of silence after which it is begun again; None where silence is its nature.
        every: Seconds between two `tick`s; 0 for none.
        patience: How many times in a row it is begun again before the link is given up; None never.
        longest: Seconds between two attempts to reconnect, at most.
    """

    silent_code = NoticeCode.NO_SAMPLES
    silent = "no samples came; is it worn?"
    """What is told when it has been begun again."""

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
        self._patient = wait
        self._stall = stall
        self._every = every
        self._patience = patience
        self._longest = longest
        self._linked = AsyncExitStack()
        self._inlet: Inlet | None = None
        self._stalls = 0
        self._due = 0

    # What a subclass knows

    @abstractmethod
    async def _make(self, stack: AsyncExitStack) -> Inlet:
        """Return a link over which the sensor sends; what undoes it goes on `stack`.

        Raises:
            DeviceError: No link came about.
        """

    @property
    @abstractmethod
    def _streaming(self) -> Decoder:
        """Its decoder, there once a link has been made."""

    @abstractmethod
    def _told(self) -> dict[str, Any]:
        """Return the detail of the ``connected`` event."""

    @abstractmethod
    async def _again(self) -> None:
        """Begin again with a sensor that has fallen silent.

        Raises:
            Refused: It will not; it is asked again later.
            Lost: Nobody answers.
        """

    async def _tick(self) -> None:  # noqa: B027 - most sensors need not be told to go on
        """Say what has to be said now and then."""

    def _parting(self, error: DeviceError) -> str:
        """Return why the link is gone, for whoever wears the sensor."""
        return str(error)

    def _worth_telling(self, error: DeviceError) -> bool:
        """Whether somebody must do something: being out of reach mends itself, and is expected."""
        return isinstance(error, Refused)

    # Its course

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Link on entering, unlink on leaving; see `Device.open`."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._unlink)
            await self._begin()
            yield await stack.enter_async_context(aclosing(self._items()))

    async def _begin(self) -> None:
        """Link for the first time, trying while there is patience."""
        last = self._clock.now() + int(self._patient * NS)
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
        """Make the link; on any error nothing is left of it."""
        async with AsyncExitStack() as stack:
            inlet = await self._make(stack)
            self._linked = stack.pop_all()
        self._inlet = inlet
        log.info("%s: connected, %s", self._named.id, self._told())

    async def _unlink(self) -> None:
        """Undo what making the link has done."""
        linked, self._linked, self._inlet = self._linked, AsyncExitStack(), None
        await linked.aclose()

    async def _items(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield for ever; whatever happens to the link is told and mended."""
        while True:
            if self._inlet is None:
                async with aclosing(self._reconnect()) as events:
                    async for event in events:
                        yield event
            assert self._inlet is not None
            yield self._event("connected", **self._told())
            try:
                async with aclosing(self._while_linked(self._inlet)) as items:
                    async for item in items:
                        yield item
            except DeviceError as error:  # whatever it is, it may have mended by the next attempt
                yield self._event("disconnected", why=self._parting(error))
            for item in self._parted():
                yield item
            await self._unlink()

    def _parted(self) -> list[Chunk | Event]:
        """Return what the lost link leaves to be given out."""
        left = self._streaming.flush()
        self._streaming.interrupted("link lost", relinked=True)
        return left

    async def _while_linked(self, inlet: Inlet) -> AsyncGenerator[Chunk | Event, None]:
        """Yield until the link is lost, beginning again whenever the sensor falls silent."""
        dropped = self._stalls = 0
        self._wait()
        tick_at = self._clock.now()
        while True:
            now = self._clock.now()
            if self._every and now >= tick_at:
                await self._tick()
                tick_at = now + int(self._every * NS)
            arrival = await inlet.next(min(self._due, tick_at) if self._every else self._due)
            if arrival is None:
                if self._clock.now() >= self._due:
                    yield await self._revive()
                continue
            self._heard(arrival)
            if inlet.dropped > dropped:  # the oldest, so before what has just come
                dropped = inlet.dropped
                self._streaming.interrupted("too slow")
                text = f"too slow: {dropped} notifications dropped"
                yield self._notice(NoticeCode.NOTIFICATIONS_DROPPED, text)
            if self._tap is not None:
                self._tap(arrival.channel, arrival.time, arrival.data)
            for item in self._decoded(arrival):
                yield item

    def _decoded(self, arrival: Arrival) -> list[Chunk | Event]:
        try:
            return self._streaming.push(arrival.channel, arrival.time, arrival.data)
        except BadPacket as bad:
            log.info("%s: %s: %s", self._named.id, bad, bad.raw[:256].hex())
            if self._streaming.bad > 1:
                return []
            text = f"what came cannot be decoded: {bad}"
            return [self._notice(NoticeCode.UNDECODABLE, text)]

    def _heard(self, arrival: Arrival) -> None:
        """Take an arrival for a sign of life."""
        self._stalls = 0
        self._wait()

    def _wait(self) -> None:
        self._due = self._clock.now() + int((3600.0 if self._stall is None else self._stall) * NS)

    async def _revive(self) -> Event:
        """Begin again with the silent sensor; after `patience` times in a row give the link up.

        Raises:
            Lost: Beginning again has not helped, or nobody answered.
        """
        self._wait()
        if self._stall is None:
            return self._notice(NoticeCode.NO_NEWS, "nothing to tell for an hour")
        self._stalls += 1
        self._streaming.interrupted("stalled")
        if self._patience is not None and self._stalls > self._patience:
            raise Lost("the sensor is connected but sends nothing: connecting anew")
        try:
            await self._again()
        except Refused as refused:
            self._stalls = 1
            self._due = self._clock.now() + backoff(4)
            return self._notice(NoticeCode.RESTART_REFUSED, str(refused))
        return self._notice(self.silent_code, self.silent)

    async def _reconnect(self) -> AsyncGenerator[Event, None]:
        """Try for ever; a refusal is told once."""
        told = ""
        for attempt in itertools.count():
            pause = backoff(attempt, longest=self._longest)
            await self._clock.sleep_until(self._clock.now() + pause)
            try:
                await self._connect()
            except DeviceError as error:
                log.info("%s: attempt %d: %s", self._named.id, attempt + 1, error)
                if self._worth_telling(error) and str(error) != told:
                    told = str(error)
                    yield self._notice(NoticeCode.RECONNECT_FAILED, told)
            else:
                return

    def _event(self, kind: EventKind, **detail: Any) -> Event:
        now = self._clock.now()
        return Event(self._named.id, kind, now, now, detail)

    def _notice(self, code: NoticeCode, text: str) -> Event:
        return notice(self._named.id, self._clock.now(), code, text)
