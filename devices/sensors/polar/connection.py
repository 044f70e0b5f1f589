"""Connection to a Polar sensor: settings, modes, start and restart."""

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
    Refused,
    Tap,
)
from innpar.devices.link.ble import BleLink, Sighting, sig
from innpar.devices.link.inbox import Arrival
from innpar.devices.link.reconnect import ReconnectingDevice, missing
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
"""Silence after which the stream is restarted: three frames of the slowest stream, ns."""

STOP_SECONDS = 3.0
"""Time limit for stopping all streams on leaving; radio time, not the host clock's."""

REMEDY = (
    "put it on and switch it on with a short press (the blue LED), bring it closer, and close "
    "Polar Flow and every app that may hold it"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Signals to request from a Polar sensor.

    Attributes:
        rate: PPG sampling rate, Hz; None for that of the normal mode.
        acc: Also the acceleration.
        ppi: Also pulse intervals.
    """

    rate: int | None = None
    acc: bool = False
    ppi: bool = False


class PolarConnection(ReconnectingDevice):
    """Connection that chooses the sensor's mode and starts its streams."""

    silence_code = NoticeCode.STALLED_RESTARTED
    silence_text = "no samples came; the stream was started again"

    def __init__(self, wanted: Wanted, search: Search, clock: HostClock, tap: Tap | None) -> None:
        sought = search.sought
        super().__init__(sought, clock, tap, wait=search.wait, stall=STALL / NS)
        self._wanted = wanted
        self._search = search
        self._missing = missing(f"{sought.kind} {sought.who}".strip(), REMEDY)
        self._decoder_or_none: PolarDecoder | None = None
        self._link: BleLink
        self._control: ControlPoint
        self._plan: Plan
        self._about: dict[str, Any] = {}
        self._decoder_settings: dict[str, Any] = {}

    async def _connect_link(self, stack: AsyncExitStack) -> BleLink:
        """Find the sensor, connect, prepare and start it."""
        search = self._search
        sought = search.sought
        self._link = await sought.reach(
            stack, search.radio, self._clock, search.wait, self._missing
        )
        assert sought.seen is not None
        self._control = ControlPoint(self._link, self._clock)
        stack.push_async_callback(self._stop)
        await self._prepare(sought.seen)
        await self._start()
        await sought.keep()
        return self._link

    async def _prepare(self, sighting: Sighting) -> None:
        """Subscribe to everything, stop running streams, and choose the mode."""
        link = self._link
        if not link.has(DATA_UUID):
            raise Refused(
                f"{sighting.name or sighting.address} cannot stream: it has no Polar measurement "
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
                f"{sighting.name} refuses the subscription to its raw data, a known fault of "
                f"firmware 3.0.16 ({lost}): update its firmware with Polar Flow"
            ) from lost
        for uuid, channel in ((BATTERY_UUID, BATTERY), (HEART_RATE_UUID, HEART_RATE)):
            if link.has(uuid):
                await link.subscribe(uuid, channel)
        if MeasurementKind.PPG not in features:
            raise Refused(f"{sighting.name} offers no raw PPG; choose another device")
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
        """Start the wanted streams, and create the decoder the first time."""
        await self._control.start(MeasurementKind.PPG, self._plan.settings)
        rate, factor = await self._start_acc() if self._wanted.acc else (52.0, 1.0)
        if self._wanted.ppi and not self._plan.sdk:
            await self._control.start(MeasurementKind.PPI)
        if self._decoder_or_none is None:
            known = {"rates": list(self._plan.rates), "acc_rate": rate, "acc_factor": factor}
            self._decoder_settings = {"name": "polar", **known}
            self._decoder_or_none = PolarDecoder(
                self._search.sought.id, self._plan.rates, acc_rate=rate, acc_factor=factor
            )

    async def _start_acc(self) -> tuple[float, float]:
        offered = await self._control.settings(MeasurementKind.ACC)
        rate = min((int(r) for r in offered.get(Setting.RATE, (52,))), key=lambda r: abs(r - 52))
        return float(rate), await self._control.start(MeasurementKind.ACC, choose(offered, rate))

    async def _stop(self) -> None:
        # A sensor out of reach stops by itself once the link is gone.
        if self._link.up:
            with suppress(DeviceError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._control.leave()

    @property
    def _decoder(self) -> PolarDecoder:
        assert self._decoder_or_none is not None
        return self._decoder_or_none

    def _on_disconnect(self) -> list[Chunk | Event]:
        """Keep the samples held back: the sensor's clock goes on."""
        self._decoder.interrupted("link lost", relinked=True)
        return []

    def _receive(self, arrival: Arrival) -> None:
        """Take only samples as a sign of life; restart a stream soon after it stops by itself."""
        if arrival.channel == DATA:
            super()._receive(arrival)
        elif arrival.channel == CONTROL and MeasurementKind.PPG in parse_stopped(arrival.data):
            self._due = self._clock.now() + NS

    async def _restart(self) -> None:
        await self._control.stop(MeasurementKind.PPG)
        await self._start()

    def _describe(self) -> dict[str, Any]:
        chosen = self._plan
        return {
            **self._about,
            "rate": self._decoder.sends,
            "sdk_mode": chosen.sdk,
            "channels": int((*chosen.settings.get(Setting.CHANNELS, ()), 4)[0]),
            "mtu": self._link.mtu,
            "decoder": self._decoder_settings,  # to decode recorded frames anew
        }
