"""One opening of a Polar sensor: links come and go, the samples' place in time stays."""

from __future__ import annotations

import asyncio
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
from .pmd import Kind
from .pmd_control import Setting, parse_stopped
from .polar_control import ControlPoint, Plan, choose, plan, plan_sdk
from .polar_stream import BATTERY, CONTROL, DATA, HEART_RATE, PolarStream

if TYPE_CHECKING:
    from .polar import Polar

log = logging.getLogger(__name__)

SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
DATA_UUID = "fb005c82-02e7-f387-1cad-8acd2d8df0c8"
_SIG = "0000{}-0000-1000-8000-00805f9b34fb".format
HEART_RATE_UUID = _SIG("2a37")
BATTERY_UUID = _SIG("2a19")
ABOUT = {"model": _SIG("2a24"), "serial": _SIG("2a25"), "firmware": _SIG("2a28")}

STALL = 6 * NS
"""No frame for this long, three of the slowest stream's, and the stream is started again."""

REMEDY = (
    "{who} is not to be found: put it on and switch it on with a short press (the blue LED), bring "
    "it closer, and close Polar Flow and every app that may hold it; `innpar-stream scan` lists "
    "what can be heard"
)


class Session:
    """See the module; `begin` once, then `items`.

    Args:
        device: Whose.
        clock: The host's.
        tap: Receives every notification before it is decoded.
        stack: Of the opening; what is connected is disconnected when it unwinds.
    """

    def __init__(
        self, device: Polar, clock: HostClock, tap: Tap | None, stack: AsyncExitStack
    ) -> None:
        self._device = device
        self._clock = clock
        self._tap = tap
        self._stack = stack
        self._linked = AsyncExitStack()
        self._stream: PolarStream | None = None
        self._link: Link
        self._control: ControlPoint
        self._plan: Plan
        self._about: dict[str, Any] = {}
        self._decoder: dict[str, Any] = {}
        self._stalls = 0
        self._due = 0

    async def begin(self) -> None:
        """Connect for the first time, trying while the device's patience lasts."""
        self._stack.push_async_callback(self._unlink)
        last = self._clock.now() + int(self._device.wait * NS)
        for attempt in range(1_000_000):
            try:
                return await self._connect()
            except (Lost, BadPacket) as lost:
                log.info("%s: %s", self._device.id, lost)
                pause = backoff(attempt)
                if self._clock.now() + pause > last:
                    raise NotFound(f"{self._device.id}: {lost}") from lost
                await self._clock.sleep_until(self._clock.now() + pause)

    async def _unlink(self) -> None:
        """Stop the stream if the sensor still listens, and disconnect."""
        linked, self._linked = self._linked, AsyncExitStack()
        await linked.aclose()

    async def _connect(self) -> None:
        """Find, connect, prepare, start; on any error nothing is left connected."""
        device = self._device
        who = f"{device.model} {device.who}".strip()
        sighting = await find(device.matches, device.wait, device.radio, REMEDY.format(who=who))
        async with AsyncExitStack() as stack:
            self._link = await stack.enter_async_context(
                connect(sighting, device.radio, self._clock)
            )
            device.found(sighting)
            await self._prepare(sighting)
            stack.push_async_callback(self._stop)
            await self._start()
            self._linked = stack.pop_all()
        log.info("%s: connected, %s", device.id, self._about)

    async def _prepare(self, sighting: Sighting) -> None:
        """Subscribe to everything, quieten the sensor, and choose its mode."""
        link = self._link
        if not link.has(DATA_UUID):
            raise Refused(
                f"{sighting.name or sighting.address} does not stream: it has no Polar measurement "
                "service; update its firmware, or choose another device"
            )
        self._about = {"name": sighting.name, "address": sighting.address}
        for key, uuid in ABOUT.items():
            if link.has(uuid):
                self._about[key] = (await link.read(uuid)).rstrip(b"\0").decode("utf-8", "replace")
        if link.has(BATTERY_UUID):
            self._about["battery"] = (await link.read(BATTERY_UUID))[0]
        self._control = ControlPoint(link, self._clock)
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
        if Kind.PPG not in features:
            raise Refused(f"{sighting.name} has no raw PPG to give; choose another device")
        await self._control.stop_all(features)
        self._plan = await self._choose(Kind.SDK_MODE in features)

    async def _choose(self, has_sdk: bool) -> Plan:
        """Enter the mode that has the wanted rate."""
        wanted = self._device.rate
        if has_sdk:
            await self._control.sdk_mode(False)
        chosen = plan(wanted, await self._control.settings(Kind.PPG), has_sdk)
        if chosen is None:
            assert wanted is not None
            await self._control.sdk_mode(True)
            chosen = plan_sdk(wanted, await self._control.settings(Kind.PPG))
        return chosen

    async def _start(self) -> None:
        """Start what is wanted; the first time, this is when the stream's timeline begins."""
        await self._control.start(Kind.PPG, self._plan.settings)
        rate, factor = await self._start_acc() if self._device.acc else (52.0, 1.0)
        if self._device.ppi and not self._plan.sdk:
            await self._control.start(Kind.PPI)
        if self._stream is None:
            told = {"rates": list(self._plan.rates), "acc_rate": rate, "acc_factor": factor}
            self._decoder = {"name": "polar", **told}
            self._stream = PolarStream(
                self._device.id, self._plan.rates, acc_rate=rate, acc_factor=factor
            )
        self._due = self._clock.now() + STALL

    async def _start_acc(self) -> tuple[float, float]:
        offered = await self._control.settings(Kind.ACC)
        rate = min((int(r) for r in offered.get(Setting.RATE, (52,))), key=lambda r: abs(r - 52))
        return float(rate), await self._control.start(Kind.ACC, choose(offered, rate))

    async def _stop(self) -> None:
        # A sensor that cannot be told any more stops by itself when the link is gone.
        with suppress(DeviceError, TimeoutError):
            async with asyncio.timeout(2):
                await self._control.stop(Kind.PPG)

    async def items(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield for ever; whatever happens to the link is told and mended."""
        yield self._connected()
        while True:
            try:
                async with aclosing(self._while_linked()) as items:
                    async for item in items:
                        yield item
            except Lost as lost:
                yield self._event("disconnected", why=str(lost))
            self._streaming.interrupted("link lost", relinked=True)
            async with aclosing(self._reconnect()) as items:
                async for item in items:
                    yield item

    @property
    def _streaming(self) -> PolarStream:
        assert self._stream is not None
        return self._stream

    async def _while_linked(self) -> AsyncGenerator[Chunk | Event, None]:
        """Yield until the link is lost, starting the stream again whenever it falls silent."""
        dropped = 0
        while True:
            arrival = await self._link.next(self._due)
            if arrival is None:
                yield await self._revive()
                continue
            if self._tap is not None:
                self._tap(arrival.channel, arrival.time, arrival.data)
            if arrival.channel == DATA:
                self._stalls = 0
                self._due = self._clock.now() + STALL
            if arrival.channel == CONTROL and Kind.PPG in parse_stopped(arrival.data):
                self._due = self._clock.now() + NS
            try:
                for item in self._streaming.push(arrival.channel, arrival.time, arrival.data):
                    yield item
            except BadPacket as bad:
                log.info("%s: %s: %s", self._device.id, bad, bad.raw.hex())
                if self._streaming.bad == 1:
                    yield self._event("notice", text=f"a frame that cannot be decoded: {bad}")
            if self._link.dropped > dropped:
                dropped = self._link.dropped
                yield self._event("notice", text=f"too slow: {dropped} notifications dropped")

    async def _revive(self) -> Event:
        """Start the silent stream again; the second time in a row give the link up.

        Raises:
            Lost: Starting it again has not helped, or nobody answered.
        """
        self._stalls += 1
        self._streaming.interrupted("stalled")
        if self._stalls > 2:
            raise Lost("the sensor is connected but sends nothing: connecting anew")
        try:
            await self._control.stop(Kind.PPG)
            await self._start()
        except Refused as refused:
            self._stalls = 1
            self._due = self._clock.now() + backoff(4)
            return self._event("notice", text=str(refused))
        return self._event("notice", text="no samples came; the stream was started again")

    async def _reconnect(self) -> AsyncGenerator[Event, None]:
        """Try for ever; a refusal is told once."""
        told = ""
        self._stalls = 0
        await self._unlink()
        for attempt in range(1_000_000_000):
            await self._clock.sleep_until(self._clock.now() + backoff(attempt))
            try:
                await self._connect()
            except Refused as refused:
                if str(refused) != told:
                    told = str(refused)
                    yield self._event("notice", text=told)
            except DeviceError as error:
                log.info("%s: attempt %d: %s", self._device.id, attempt + 1, error)
            else:
                yield self._connected()
                return

    def _connected(self) -> Event:
        chosen = self._plan
        detail = {
            **self._about,
            "rate": self._plan.rates[0],
            "sdk_mode": chosen.sdk,
            "channels": int((*chosen.settings.get(Setting.CHANNELS, ()), 4)[0]),
            "mtu": self._link.mtu,
            # Whoever decodes recorded frames once more needs to know how they were decoded.
            "decoder": self._decoder,
        }
        return self._event("connected", **detail)

    def _event(self, kind: EventKind, **detail: Any) -> Event:
        now = self._clock.now()
        return Event(self._device.id, kind, now, now, detail)
