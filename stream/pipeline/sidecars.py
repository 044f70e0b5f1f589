"""A cuff beside the wearers: its readings enter the stream of whoever wears it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from innpar.devices import Device, DeviceError, Event, HostClock, NoticeCode, by_clock, notice
from innpar.devices.sensors.cuff import CuffDevice
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.steering import mark_all
from innpar.stream.pipeline.wearer import Wearer
from innpar.stream.sinks.base import Sink

if TYPE_CHECKING:
    from innpar.devices.lsl.markers import LslMarks

log: logging.Logger = logging.getLogger(__name__)


def assign(devices: Sequence[Device]) -> tuple[list[Device], list[CuffDevice]]:
    """Part the wearers' sensors from the cuffs.

    Raises:
        ConfigError: A cuff without a wearer, or for whom it is cannot be told.
    """
    cuffs = [device for device in devices if isinstance(device, CuffDevice)]
    sensors = [device for device in devices if not isinstance(device, CuffDevice)]
    ids = [device.id for device in sensors]
    for cuff in cuffs:
        if cuff.wearer is None and len(ids) != 1:
            wants = (
                f"for which of {', '.join(ids)}? add ?for=…"
                if ids
                else "add the --device to calibrate"
            )
            raise ConfigError(f"--device {cuff.id}: {wants}")
        if cuff.wearer is not None and not any(cuff.is_for(name) for name in ids):
            raise ConfigError(
                f"--device {cuff.id}: no device is called {cuff.wearer!r}; "
                f"there is {', '.join(ids)}"
            )
    return sensors, cuffs


async def forward_cuff(
    cuff: CuffDevice, wearers: Sequence[Wearer], sink: Sink, clock: HostClock
) -> None:
    """Hand on what a cuff tells, for ever; without Bluetooth say so once and let the run go on."""
    try:
        async with cuff.open(clock=clock) as items:
            async for item in items:
                if not isinstance(item, Event):
                    continue
                if item.kind != "cuff":
                    await sink.send(item)
                    continue
                for wearer in wearers:
                    if cuff.is_for(wearer.device.id):
                        order(wearer, item)
    except DeviceError as error:
        code = NoticeCode.CUFF_UNAVAILABLE
        await sink.send(notice(cuff.id, clock.now(), code, str(error)))


async def forward_markers(
    marks: LslMarks, wearers: Sequence[Wearer], sink: Sink, clock: HostClock
) -> None:
    """Put other programs' markers into everybody's stream, for ever."""
    try:
        async with marks.open(clock=clock) as events:
            async for event in events:
                mark_all(wearers, str(event.detail["text"]), clock, event.start)
    except DeviceError as error:
        now = clock.now()
        for wearer in wearers:
            text = f"no markers from LSL: {error}"
            await sink.send(notice(wearer.device.id, now, NoticeCode.MARKERS_UNAVAILABLE, text))


def order(wearer: Wearer, reading: Event) -> None:
    """Put a reading into a wearer's stream; what goes by the clock shares the cuff's time axis."""
    at = reading.start if by_clock(wearer.device) else wearer.last
    try:
        wearer.orders.put_nowait(replace(reading, device=wearer.device.id, start=at, end=at))
    except asyncio.QueueFull:
        log.warning("%s takes no more readings: it has sent nothing for long", wearer.device.id)
