"""Connection to a `Gatt` sensor: subscribe, send its start command where it has one, receive."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import Any

from innpar.devices.base import DeviceError, HostClock, Lost, Refused, Tap
from innpar.devices.link.ble import BleLink, sig
from innpar.devices.link.decoder import Decoder
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import ReconnectingDevice, missing
from innpar.devices.link.target import Search
from innpar.devices.sensors.family import Family

ABOUT = {"model": sig("2a24"), "serial": sig("2a25"), "firmware": sig("2a28")}
BATTERY = sig("2a19")

LISTEN = 5.0
"""Seconds of each search for a sensor that is mostly off the air; the radio is shared."""


class GattConnection(ReconnectingDevice):
    """Connection to a sensor of some `Family`; does not wait for one that is mostly off the air."""

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
        self._missing = missing(f"{family.name} {search.sought.who}".strip(), family.remedy)
        self._link: BleLink
        self._decoder_or_none: Decoder | None = None
        self._about: dict[str, Any] = {}

    async def _first_connect(self) -> None:
        if not self._family.sleeps:
            await super()._first_connect()

    async def _connect_link(self, stack: AsyncExitStack) -> BleLink:
        """Find the sensor, connect, subscribe, start it."""
        family, search = self._family, self._search
        sought = search.sought
        seconds = LISTEN if family.sleeps else search.wait
        link = await sought.reach(stack, search.radio, self._clock, seconds, self._missing)
        seen = sought.seen
        assert seen is not None
        self._link = link
        for uuid, channel in family.notify.items():
            if not link.has(uuid):
                raise Refused(
                    f"{seen.name or seen.address} is not a supported {family.name}: it has no "
                    f"characteristic {uuid}; choose another device"
                )
            await link.subscribe(uuid, channel)
        for uuid, channel in family.extras.items():
            if link.has(uuid):
                await link.subscribe(uuid, channel)
        if family.end is not None:
            stack.push_async_callback(self._end, link)
        if family.begin is not None:
            await family.begin(link)
        self._about = {"model": family.name, "name": seen.name, "address": seen.address}
        self._about |= await about(link)
        await sought.keep()
        self._decoder_or_none = self._decoder_or_none or family.decoder(sought.id)
        return link

    async def _end(self, link: BleLink) -> None:
        # A sensor out of reach stops by itself once the link is gone.
        if self._family.end is not None and link.up:
            with suppress(DeviceError):
                await self._family.end(link)

    @property
    def _decoder(self) -> Decoder:
        assert self._decoder_or_none is not None
        return self._decoder_or_none

    def _describe(self) -> dict[str, Any]:
        return self._about

    def _disconnect_reason(self, error: DeviceError) -> str:
        asleep = self._family.sleeps and isinstance(error, Lost)
        return "it went back to sleep" if asleep else str(error)

    def _receive(self, arrival: Arrival) -> None:
        if arrival.channel not in self._family.extras.values():
            super()._receive(arrival)

    async def _restart(self) -> None:
        if self._family.begin is not None:
            await self._family.begin(self._link)

    async def _keep_alive(self) -> None:
        if self._family.tick is not None:
            await self._family.tick(self._link)


async def about(link: BleLink) -> dict[str, Any]:
    """Read model, serial number, firmware and battery, as far as the sensor offers them."""
    detail: dict[str, Any] = {}
    with suppress(Lost):
        for key, uuid in ABOUT.items():
            if link.has(uuid):
                detail[key] = (await link.read(uuid)).rstrip(b"\0").decode("utf-8", "replace")
        if link.has(BATTERY) and (level := await link.read(BATTERY)):
            detail["battery"] = level[0]
    return detail
