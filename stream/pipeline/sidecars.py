"""Sources beside the wearers: blood pressure cuffs, and markers of other programs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from innpar.devices import Device, DeviceError, Event, HostClock, NoticeCode, is_real_time, notice
from innpar.devices.sensors.cuff import CuffDevice
from innpar.stream.calibration.types import CuffReading
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.pipeline.steering import inject, mark_all, newer_than
from innpar.stream.pipeline.wearer import Wearer
from innpar.stream.sinks.base import Sink

if TYPE_CHECKING:
    from innpar.devices.lsl.markers import LslMarks

log: logging.Logger = logging.getLogger(__name__)


def assign(devices: Sequence[Device]) -> tuple[list[Device], list[CuffDevice]]:
    """Separate the wearers' sensors from the cuffs.

    Raises:
        ConfigError: A cuff without a wearer, or with several possible ones.
    """
    cuffs = [device for device in devices if isinstance(device, CuffDevice)]
    sensors = [device for device in devices if not isinstance(device, CuffDevice)]
    ids = [device.id for device in sensors]
    for cuff in cuffs:
        if cuff.wearer is None and len(ids) != 1:
            choice = (
                f"for which of {', '.join(ids)}? add ?for=…"
                if ids
                else "add the --device to calibrate"
            )
            raise ConfigError(f"--device {cuff.id}: {choice}")
        if cuff.wearer is not None and not any(cuff.is_for(name) for name in ids):
            raise ConfigError(
                f"--device {cuff.id}: there is no device {cuff.wearer!r}; "
                f"choose from {', '.join(ids)}"
            )
    return sensors, cuffs


async def forward_cuff(
    cuff: CuffDevice, wearers: Sequence[Wearer], sink: Sink, clock: HostClock
) -> None:
    """Forward the readings of a cuff for ever; without Bluetooth, publish a notice and return."""
    try:
        async with cuff.open(clock=clock) as items:
            async for item in items:
                if not isinstance(item, Event):
                    continue
                if item.kind != "cuff":
                    await sink.send(item)
                    continue
                for wearer in wearers:
                    if not cuff.is_for(wearer.device.id):
                        continue
                    if (why := inject_cuff(wearer, item)) is not None:
                        await sink.send(_not_used(cuff, item, why))
    except DeviceError as error:
        code = NoticeCode.CUFF_UNAVAILABLE
        await sink.send(notice(cuff.id, clock.now(), code, str(error)))


async def forward_markers(
    markers: LslMarks, wearers: Sequence[Wearer], sink: Sink, clock: HostClock
) -> None:
    """Inject the markers of other programs into every wearer's stream, for ever."""
    try:
        async with markers.open(clock=clock) as events:
            async for event in events:
                mark_all(wearers, str(event.detail["text"]), clock, event.start)
    except DeviceError as error:
        now = clock.now()
        for wearer in wearers:
            text = f"no markers from LSL: {error}"
            await sink.send(notice(wearer.device.id, now, NoticeCode.MARKERS_UNAVAILABLE, text))


def inject_cuff(wearer: Wearer, reading: Event) -> str | None:
    """Inject a reading; a wearer in real time shares the time axis of the cuff.

    Returns:
        The reason why the reading does not count; None if it does.
    """
    at = reading.start if is_real_time(wearer.device) else wearer.last
    event = replace(reading, device=wearer.device.id, start=at, end=at)
    if (newer := newer_than(wearer, CuffReading.of(event))) is not None:
        return newer
    try:
        inject(wearer, event)
    except SessionError:
        return f"{wearer.device.id} sends nothing; measure again once it does"
    return None


def _not_used(cuff: CuffDevice, item: Event, why: str) -> Event:
    text = f"cuff reading {item.detail['sbp']:g}/{item.detail['dbp']:g} not used: {why}"
    return notice(cuff.id, item.start, NoticeCode.READING_NOT_USED, text, **item.detail)
