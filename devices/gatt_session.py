"""One opening of a `Gatt` sensor: links come and go, the samples' place in time stays."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any

from .base import (
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
from .ble import Link, Sighting, backoff, connect, find

if TYPE_CHECKING:
    from .gatt import Gatt, Stream

log = logging.getLogger(__name__)

_SIG = "0000{}-0000-1000-8000-00805f9b34fb".format
ABOUT = {"model": _SIG("2a24"), "serial": _SIG("2a25"), "firmware": _SIG("2a28")}
BATTERY = _SIG("2a19")

LISTEN = 5.0
"""Seconds of each look for one that sleeps most of the time; others must get at the radio too."""


class Session:
    """See the module; `begin` once, unless the sensor sleeps, then `items`."""

    def __init__(self, device: Gatt, clock: HostClock, tap: Tap | None) -> None:
        self._device = device
        self._family = device.family
        self._clock = clock
        self._tap = tap
        self._linked = AsyncExitStack()
        self._remedy = (
            f"{f'{device.family.name} {device.who}'.strip()} is not to be found: "
            f"{device.family.remedy}; `innpar-stream scan` lists what can be heard"
        )
        self._link: Link | None = None
        self._stream: Stream | None = None
        self._about: dict[str, Any] = {}
        self._stalls = 0
        self._due = 0

    async def begin(self) -> None:
        """Connect for the first time, trying while the device's patience lasts."""
        last = self._clock.now() + int(self._device.wait * NS)
        attempt = 0
        while True:
            try:
                return await self._connect(self._device.wait)
            except Lost as lost:
                log.info("%s: %s", self._device.id, lost)
                pause = backoff(attempt)
                if self._clock.now() + pause > last:
                    raise NotFound(f"{self._device.id}: {lost}") from lost
                await self._clock.sleep_until(self._clock.now() + pause)
                attempt += 1

    async def unlink(self) -> None:
        """Say goodbye if the sensor still listens, and disconnect."""
        linked, self._linked = self._linked, AsyncExitStack()
        self._link = None
        await linked.aclose()

    async def _connect(self, seconds: float) -> None:
        """Find, connect, subscribe, begin; on any error nothing is left connected."""
        device, family = self._device, self._family
        sighting = await find(device.matches, seconds, device.radio, self._remedy)
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(connect(sighting, device.radio, self._clock))
            device.found(sighting)
            await self._subscribe(link, sighting)
            if family.end is not None:
                stack.push_async_callback(self._goodbye, link)
            if family.begin is not None:
                await family.begin(link)
            self._about = {"model": family.name, "name": sighting.name}
            self._about["address"] = sighting.address
            self._about |= await _about(link)
            self._link = link
            self._linked = stack.pop_all()
        self._stream = self._stream or family.stream(device.id)
        log.info("%s: connected, %s", device.id, self._about)

    async def _subscribe(self, link: Link, sighting: Sighting) -> None:
        for uuid, channel in self._family.notify.items():
            if not link.has(uuid):
                raise Refused(
                    f"{sighting.name or sighting.address} is no {self._family.name} that is "
                    f"known here: it has no characteristic {uuid}; choose another device"
                )
            await link.subscribe(uuid, channel)

    async def _goodbye(self, link: Link) -> None:
        # A sensor that cannot be told any more stops by itself when the link is gone.
        if self._family.end is not None and link.up:
            with suppress(DeviceError):
                await self._family.end(link)

    async def items(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield for ever; whatever happens to the link is told and mended."""
        while True:
            if self._link is None:
                async with aclosing(self._reconnect()) as events:
                    async for event in events:
                        yield event
            yield self._event("connected", **self._about)
            try:
                async with aclosing(self._while_linked()) as items:
                    async for item in items:
                        yield item
            except Lost as lost:
                why = "it went back to sleep" if self._family.sleeps else str(lost)
                yield self._event("disconnected", why=why)
            for item in self._streaming.flush():
                yield item
            self._streaming.interrupted("link lost", relinked=True)
            await self.unlink()

    @property
    def _streaming(self) -> Stream:
        assert self._stream is not None
        return self._stream

    async def _while_linked(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield until the link is lost, beginning again whenever the sensor falls silent."""
        link, dropped = self._link, 0
        assert link is not None
        self._heard()
        tick_at = self._clock.now()
        while True:
            now = self._clock.now()
            if self._family.tick is not None and now >= tick_at:
                await self._family.tick(link)
                tick_at = now + int(self._family.every * NS)
            deadline = min(self._due, tick_at) if self._family.tick else self._due
            arrival = await link.next(deadline)
            if arrival is None:
                if self._clock.now() >= self._due:
                    yield await self._revive(link)
                continue
            self._heard()
            if self._tap is not None:
                self._tap(arrival.channel, arrival.time, arrival.data)
            try:
                for item in self._streaming.push(arrival.channel, arrival.time, arrival.data):
                    yield item
            except BadPacket as bad:
                log.info("%s: %s: %s", self._device.id, bad, bad.raw.hex())
                if self._streaming.bad == 1:
                    yield self._event("notice", text=f"a packet that cannot be decoded: {bad}")
            if link.dropped > dropped:
                dropped = link.dropped
                self._streaming.interrupted("too slow")
                yield self._event("notice", text=f"too slow: {dropped} notifications dropped")

    def _heard(self) -> None:
        self._stalls = 0
        self._wait()

    def _wait(self) -> None:
        stall = 3600.0 if self._family.stall is None else self._family.stall
        self._due = self._clock.now() + int(stall * NS)

    async def _revive(self, link: Link) -> Event:
        """Begin again with the silent sensor; the third time in a row give the link up.

        Raises:
            Lost: Beginning again has not helped, or nobody answered.
        """
        self._wait()
        if self._family.stall is None:
            return self._event("notice", text="nothing to tell for an hour")
        self._stalls += 1
        self._streaming.interrupted("stalled")
        if self._stalls > 2:
            raise Lost("the sensor is connected but sends nothing: connecting anew")
        if self._family.begin is not None:
            await self._family.begin(link)
        return self._event("notice", text="no samples came; is it worn?")

    async def _reconnect(self) -> AsyncGenerator[Event, None]:
        """Try for ever; a refusal is told once."""
        told, attempt = "", 0
        seconds = LISTEN if self._family.sleeps else self._device.wait
        while True:
            longest = 2.0 if self._family.sleeps else 30.0
            await self._clock.sleep_until(self._clock.now() + backoff(attempt, longest=longest))
            attempt += 1
            try:
                await self._connect(seconds)
            except DeviceError as error:
                log.info("%s: attempt %d: %s", self._device.id, attempt, error)
                if self._worth_telling(error) and str(error) != told:
                    told = str(error)
                    yield self._event("notice", text=told)
            else:
                return

    def _worth_telling(self, error: DeviceError) -> bool:
        """Whether somebody must do something: being out of reach mends itself, and is expected."""
        return isinstance(error, Refused) or (
            isinstance(error, NotFound) and str(error) != self._remedy
        )

    def _event(self, kind: EventKind, **detail: Any) -> Event:
        now = self._clock.now()
        return Event(self._device.id, kind, now, now, detail)


async def _about(link: Link) -> dict[str, Any]:
    """Read what the sensor says of itself; one that keeps it to itself is no worse for it."""
    told: dict[str, Any] = {}
    with suppress(Lost):
        for key, uuid in ABOUT.items():
            if link.has(uuid):
                told[key] = (await link.read(uuid)).rstrip(b"\0").decode("utf-8", "replace")
        if link.has(BATTERY) and (level := await link.read(BATTERY)):
            told["battery"] = level[0]
    return told
