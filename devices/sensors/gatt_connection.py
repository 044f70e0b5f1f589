"""The life of a `Gatt` sensor's link: subscribe, perhaps a command, and listen."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import Any

from innpar.devices.base import DeviceError, HostClock, Lost, NotFound, OutOfReach, Refused, Tap
from innpar.devices.link.ble import BleLink, sig
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import Decoder, ReconnectingDevice
from innpar.devices.link.target import Search
from innpar.devices.sensors.family import Family

ABOUT = {"model": sig("2a24"), "serial": sig("2a25"), "firmware": sig("2a28")}
BATTERY = sig("2a19")

LISTEN = 5.0
"""Seconds of each look for one that sleeps most of the time; others must get at the radio too."""


class GattConnection(ReconnectingDevice):
    """See the module; one that sleeps is not waited for on entering."""

    def __init__(self, family: Family, search: Search, clock: HostClock, tap: Tap | None) -> None:
        super().__init__(
            search.sought,
            clock,
            tap,
            wait=search.wait,
            stall=family.stall,
            every=family.every if family.tick is not None else 0.0,
            longest=2.0 if family.sleeps else 30.0,
        )
        self._search = search
        self._family = family
        self._remedy = (
            f"{f'{family.name} {search.sought.who}'.strip()} is not to be found: "
            f"{family.remedy}; `innpar-stream scan` lists what can be heard"
        )
        self._link: BleLink
        self._stream: Decoder | None = None
        self._about: dict[str, Any] = {}

    async def _begin(self) -> None:
        if not self._family.sleeps:
            await super()._begin()

    async def _make(self, stack: AsyncExitStack) -> BleLink:
        """Find, connect, subscribe, begin."""
        family, search = self._family, self._search
        sought = search.sought
        seconds = LISTEN if family.sleeps else search.wait
        link = await sought.reach(stack, search.radio, self._clock, seconds, self._remedy)
        seen = sought.seen
        assert seen is not None
        self._link = link
        for uuid, channel in family.notify.items():
            if not link.has(uuid):
                raise Refused(
                    f"{seen.name or seen.address} is no {family.name} that is "
                    f"known here: it has no characteristic {uuid}; choose another device"
                )
            await link.subscribe(uuid, channel)
        for uuid, channel in family.extras.items():
            if link.has(uuid):
                await link.subscribe(uuid, channel)
        if family.end is not None:
            stack.push_async_callback(self._goodbye, link)
        if family.begin is not None:
            await family.begin(link)
        self._about = {"model": family.name, "name": seen.name, "address": seen.address}
        self._about |= await about(link)
        await sought.keep()
        self._stream = self._stream or family.stream(sought.id)
        return link

    async def _goodbye(self, link: BleLink) -> None:
        # A sensor that cannot be told any more stops by itself when the link is gone.
        if self._family.end is not None and link.up:
            with suppress(DeviceError):
                await self._family.end(link)

    @property
    def _streaming(self) -> Decoder:
        assert self._stream is not None
        return self._stream

    def _told(self) -> dict[str, Any]:
        return self._about

    def _parting(self, error: DeviceError) -> str:
        asleep = self._family.sleeps and isinstance(error, Lost)
        return "it went back to sleep" if asleep else str(error)

    def _heard(self, arrival: Arrival) -> None:
        if arrival.channel not in self._family.extras.values():
            super()._heard(arrival)

    async def _again(self) -> None:
        if self._family.begin is not None:
            await self._family.begin(self._link)

    async def _tick(self) -> None:
        if self._family.tick is not None:
            await self._family.tick(self._link)

    def _worth_telling(self, error: DeviceError) -> bool:
        return isinstance(error, Refused) or (
            isinstance(error, NotFound) and not isinstance(error, OutOfReach)
        )


async def about(link: BleLink) -> dict[str, Any]:
    """Read what the sensor says of itself; one that keeps it to itself is no worse for it."""
    told: dict[str, Any] = {}
    with suppress(Lost):
        for key, uuid in ABOUT.items():
            if link.has(uuid):
                told[key] = (await link.read(uuid)).rstrip(b"\0").decode("utf-8", "replace")
        if link.has(BATTERY) and (level := await link.read(BATTERY)):
            told["battery"] = level[0]
    return told
