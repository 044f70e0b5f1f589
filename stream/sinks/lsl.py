"""The sink that publishes on LSL, so that LabRecorder records a run beside everything else.

Three streams a device: ``PPG`` as the network saw it, ``ABP`` and beats. Every sample carries its
own time at the sensor, on LSL's clock. Only this file and the ``lsl`` device know pylsl.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from innpar.devices import NS, HostClock
from innpar.devices.lsl.library import library
from innpar.stream.results import Beat, DeviceInfo, Item, Waveform

OURS = "innpar"
"""First part of every source id; the ``lsl`` device leaves such streams alone unless asked."""

KEPT = 60
"""s of signal that liblsl keeps for a slow receiver; then the oldest go, at the receiver's loss."""

PAST = 60 * NS
"""ns. What lies further off now is a recording."""

LEAVE = 0.3
"""s for what has been handed to liblsl to reach its receivers when leaving."""


@dataclass(frozen=True, slots=True)
class OutletKind:
    """One of the streams of a device.

    Attributes:
        type: LSL's content type.
        channels: (label, unit, type) each.
        regular: Whether it has a nominal rate.
    """

    name: str
    type: str
    channels: tuple[tuple[str, str, str], ...]
    regular: bool


KINDS: dict[str, OutletKind] = {
    "ppg": OutletKind("PPG", "PPG", (("PPG", "SD", "PPG"),), True),
    "abp": OutletKind("ABP", "ABP", (("ABP", "mmHg", "ABP"),), True),
    "beats": OutletKind(
        "beats",
        "BloodPressure",
        (
            ("SBP", "mmHg", "BloodPressure"),
            ("DBP", "mmHg", "BloodPressure"),
            ("MAP", "mmHg", "BloodPressure"),
            ("HR", "1/min", "HeartRate"),
            ("quality", "1", "Quality"),
            ("valid", "1", "Quality"),
        ),
        False,
    ),
}


class LslSink:
    """Publishes items; made by `open`."""

    def __init__(self, clock: HostClock) -> None:
        self._lsl = library()
        self._clock = clock
        self._births: dict[str, DeviceInfo] = {}
        self._outlets: dict[tuple[str, str], Any] = {}
        self._shifts: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, clock: HostClock) -> AsyncIterator[Self]:
        """Make a sink whose streams are closed on leaving.

        Args:
            clock: The host's, which dates the samples.

        Raises:
            NotFound: The LSL library cannot be loaded.
        """
        sink = cls(clock)
        try:
            yield sink
        finally:
            if any(outlet.have_consumers() for outlet in sink._outlets.values()):
                await asyncio.sleep(LEAVE)
            sink._outlets.clear()

    async def ready(self) -> None:
        """Return at once: LSL receivers cannot hold a sender up."""

    async def send(self, item: Item) -> None:
        """Publish waveforms and beats."""
        if isinstance(item, DeviceInfo):
            self._births[item.device] = item
        elif isinstance(item, Waveform):
            end = item.start + round((len(item.samples) - 1) * NS / item.rate)
            outlet = self._outlet(item, item.kind, item.rate)
            rows = np.ascontiguousarray(item.samples[:, None], np.float32)
            outlet.push_chunk(rows, self._stamp(item, end))
        elif isinstance(item, Beat):
            row = (item.sbp, item.dbp, item.map_, item.hr, item.quality, float(item.valid))
            values = [float("nan") if value is None else value for value in row]
            self._outlet(item, "beats", 0.0).push_sample(values, self._stamp(item, item.peak))

    def _stamp(self, item: Waveform | Beat, time: int) -> float:
        """Return `time`, ns since the epoch, on LSL's clock, s.

        A recording's past has no place on that clock: its first sample is sent as of now.
        """
        if item.device not in self._shifts:
            now = self._clock.now()
            if item.source != "live" and abs(time - now) > PAST:
                now = time
            self._shifts[item.device] = round(self._lsl.local_clock() * NS) - now
        return (time + self._shifts[item.device]) / NS

    def _outlet(self, item: Waveform | Beat, kind: str, rate: float) -> Any:
        outlet = self._outlets.get((item.device, kind))
        if outlet is None:
            outlet = self._lsl.StreamOutlet(self._info(item, kind, rate), max_buffered=KEPT)
            self._outlets[item.device, kind] = outlet
        return outlet

    def _info(self, item: Waveform | Beat, kind: str, rate: float) -> Any:
        """Return the stream's description, as the XDF metadata conventions have it."""
        what = KINDS[kind]
        info = self._lsl.StreamInfo(
            f"{item.device} {what.name}",
            what.type,
            len(what.channels),
            rate if what.regular else self._lsl.IRREGULAR_RATE,
            "float32",
            f"{OURS}-{socket.gethostname()}-{item.device}-{kind}",
        )
        desc = info.desc()
        channels = desc.append_child("channels")
        for label, unit, type_ in what.channels:
            channel = channels.append_child("channel")
            for key, value in (("label", label), ("unit", unit), ("type", type_)):
                channel.append_child_value(key, value)
        birth = self._births.get(item.device)
        model = str(birth.detail.get("model", "")) if birth else ""
        acquisition = desc.append_child("acquisition")
        acquisition.append_child_value("manufacturer", "innpar-stream")
        acquisition.append_child_value("model", model or item.device)
        for key, value in (
            ("device", item.device),
            ("source", item.source),
            ("session", item.session),
            ("network", birth.model if birth else ""),
            ("notice", "research software; not a medical device"),
        ):
            desc.append_child_value(key, value)
        # A hop after a gap is stamped anew: what is missing shows in the stamps.
        desc.append_child("synchronization").append_child_value("can_drop_samples", "true")
        return info
