"""The life of a Polar sensor's link: settings, modes, starting and starting again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from innpar.devices.base import (
    NS,
    Chunk,
    DeviceError,
    Event,
    HostClock,
    Lost,
    NotFound,
    OutOfReach,
    Refused,
    Tap,
)
from innpar.devices.link.ble import BleLink, Sighting, sig
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import ReconnectingDevice
from innpar.devices.link.target import Search
from innpar.devices.notices import NoticeCode
from innpar.devices.sensors.gatt_connection import about
from innpar.devices.sensors.polar.control import ControlPoint, Plan, choose, plan, plan_sdk
from innpar.devices.sensors.polar.control_frames import Setting, parse_stopped
from innpar.devices.sensors.polar.decoder import BATTERY, CONTROL, DATA, HEART_RATE, PolarDecoder
from innpar.devices.sensors.polar.frames import MeasurementKind

SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
DATA_UUID = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"
HEART_RATE_UUID = sig("2a37")
BATTERY_UUID = sig("2a19")

STALL = 6 * NS
"""No frame for this long, three of the slowest stream's, and the stream is started again."""

STOP_SECONDS = 3.0
"""For telling a sensor to stop all that it does for us; radio time, not the host clock's."""

REMEDY = (
    "{who} is not to be found: put it on and switch it on with a short press (the blue LED), bring "
    "it closer, and close Polar Flow and every app that may hold it; `innpar-stream scan` lists "
    "what can be heard"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Signals that a Polar sensor is asked for.

    Attributes:
        rate: PPG samples a second; None for the one of its normal mode.
        acc: Also the acceleration.
        ppi: Also pulse intervals.
    """

    rate: int | None = None
    acc: bool = False
    ppi: bool = False


class PolarConnection(ReconnectingDevice):
    """See the module."""

    silent_code = NoticeCode.STALLED_RESTARTED
    silent = "no samples came; the stream was started again"

    def __init__(self, wanted: Wanted, search: Search, clock: HostClock, tap: Tap | None) -> None:
        sought = search.sought
        super().__init__(sought, clock, tap, wait=search.wait, stall=STALL / NS)
        self._wanted = wanted
        self._search = search
        self._remedy = REMEDY.format(who=f"{sought.kind} {sought.who}".strip())
        self._stream: PolarDecoder | None = None
        self._link: BleLink
        self._control: ControlPoint
        self._plan: Plan
        self._about: dict[str, Any] = {}
        self._decoder: dict[str, Any] = {}

    async def _make(self, stack: AsyncExitStack) -> BleLink:
        """Find, connect, prepare, start."""
        search = self._search
        sought = search.sought
        self._link = await sought.reach(stack, search.radio, self._clock, search.wait, self._remedy)
        assert sought.seen is not None
        self._control = ControlPoint(self._link, self._clock)
        stack.push_async_callback(self._stop)
        await self._prepare(sought.seen)
        await self._start()
        await sought.keep()
        return self._link

    async def _prepare(self, sighting: Sighting) -> None:
        """Subscribe to everything, quieten the sensor, and choose its mode."""
        link = self._link
        if not link.has(DATA_UUID):
            raise Refused(
                f"{sighting.name or sighting.address} does not stream: it has no Polar measurement "
                "service; update its firmware, or choose another device"
            )
        self._about = {"name": sighting.name, "address": sighting.address}
        self._about |= await about(link)
        features = await self._control.open()
        try:
            await link.subscribe(DATA_UUID, DATA)
        except Lost as lost:
            if not link.up:
                raise
            raise Refused(
                f"{sighting.name} does not let its raw data be subscribed to, as firmware 3.0.16 "
                f"is known to ({lost}): update its firmware with Polar Flow"
            ) from lost
        for uuid, channel in ((BATTERY_UUID, BATTERY), (HEART_RATE_UUID, HEART_RATE)):
            if link.has(uuid):
                await link.subscribe(uuid, channel)
        if MeasurementKind.PPG not in features:
            raise Refused(f"{sighting.name} has no raw PPG to give; choose another device")
        await self._control.stop_all(features)
        self._plan = await self._choose(MeasurementKind.SDK_MODE in features)

    async def _choose(self, has_sdk: bool) -> Plan:
        """Enter the mode that has the wanted rate."""
        wanted = self._wanted.rate
        if has_sdk:
            await self._control.sdk_mode(False)
        chosen = plan(wanted, await self._control.settings(MeasurementKind.PPG), has_sdk)
        if chosen is None:
            assert wanted is not None
            await self._control.sdk_mode(True)
            chosen = plan_sdk(wanted, await self._control.settings(MeasurementKind.PPG))
        return chosen

    async def _start(self) -> None:
        """Start what is wanted; the first time, this is when the stream's timeline begins."""
        await self._control.start(MeasurementKind.PPG, self._plan.settings)
        rate, factor = await self._start_acc() if self._wanted.acc else (52.0, 1.0)
        if self._wanted.ppi and not self._plan.sdk:
            await self._control.start(MeasurementKind.PPI)
        if self._stream is None:
            told = {"rates": list(self._plan.rates), "acc_rate": rate, "acc_factor": factor}
            self._decoder = {"name": "polar", **told}
            self._stream = PolarDecoder(
                self._search.sought.id, self._plan.rates, acc_rate=rate, acc_factor=factor
            )

    async def _start_acc(self) -> tuple[float, float]:
        offered = await self._control.settings(MeasurementKind.ACC)
        rate = min((int(r) for r in offered.get(Setting.RATE, (52,))), key=lambda r: abs(r - 52))
        return float(rate), await self._control.start(MeasurementKind.ACC, choose(offered, rate))

    async def _stop(self) -> None:
        # A sensor that cannot be told any more stops by itself when the link is gone.
        if self._link.up:
            with suppress(DeviceError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._control.leave()

    @property
    def _streaming(self) -> PolarDecoder:
        assert self._stream is not None
        return self._stream

    def _parted(self) -> list[Chunk | Event]:
        """Hold on to what is held back: the sensor's clock goes on."""
        self._streaming.interrupted("link lost", relinked=True)
        return []

    def _heard(self, arrival: Arrival) -> None:
        """Only samples are a sign of life; one that stops by itself is asked again soon."""
        if arrival.channel == DATA:
            super()._heard(arrival)
        elif arrival.channel == CONTROL and MeasurementKind.PPG in parse_stopped(arrival.data):
            self._due = self._clock.now() + NS

    async def _again(self) -> None:
        await self._control.stop(MeasurementKind.PPG)
        await self._start()

    def _worth_telling(self, error: DeviceError) -> bool:
        return isinstance(error, Refused) or (
            isinstance(error, NotFound) and not isinstance(error, OutOfReach)
        )

    def _told(self) -> dict[str, Any]:
        chosen = self._plan
        return {
            **self._about,
            "rate": self._streaming.sends,
            "sdk_mode": chosen.sdk,
            "channels": int((*chosen.settings.get(Setting.CHANNELS, ()), 4)[0]),
            "mtu": self._link.mtu,
            # Whoever decodes recorded frames once more needs to know how they were decoded.
            "decoder": self._decoder,
        }
