"""Sink that publishes LSL streams, for LabRecorder and other LSL programs.

Four streams per device: ``PPG`` (the network's input), ``ABP``, beats, and events (cuff readings,
gaps, marks, …) as JSON. Every sample carries its own time at the sensor, on LSL's clock.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from innpar.devices import NS, Event, HostClock
from innpar.devices.lsl.library import library
from innpar.devices.session.strict_json import strict_json
from innpar.stream.results import Beat, DeviceInfo, Item, Waveform

OURS = "innpar"
"""First part of every source id; the ``lsl`` device ignores such streams by default."""

KEPT = 60
"""Seconds of signal that liblsl keeps for a slow receiver; then it drops the oldest."""

PAST = 60 * NS
"""Largest distance from now, ns, at which samples are not from a recording."""

LEAVE = 0.3
"""Seconds for the last samples to reach their receivers on closing."""


@dataclass(frozen=True, slots=True)
class OutletKind:
    """Kind of LSL stream of a device.

    Attributes:
        name: Second part of the stream's name.
        type: LSL content type.
        channels: (label, unit, type) of each channel.
        regular: Whether it has a nominal rate.
        format: Number format of LSL.
    """

    name: str
    type: str
    channels: tuple[tuple[str, str, str], ...]
    regular: bool
    format: str = "float32"


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
    # Not of type Markers, which `--lsl-markers` would take for another program's.
    "events": OutletKind("events", "Events", (("event", "", "JSON"),), False, "string"),
}


class LslSink:
    """Sink that publishes waveforms and beats on LSL; see `open`."""

    def __init__(self, clock: HostClock) -> None:
        self._lsl = library()
        self._clock = clock
        self._info_of: dict[str, DeviceInfo] = {}
        self._outlets: dict[tuple[str, str], Any] = {}
        self._shifts: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, clock: HostClock) -> AsyncIterator[Self]:
        """Return a sink whose streams are closed on leaving the context.

        Args:
            clock: Clock of the host, in whose time the samples are dated.

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
        """Return at once: LSL receivers cannot delay a sender."""

    async def send(self, item: Item) -> None:
        """Publish waveforms, beats and events."""
        if isinstance(item, DeviceInfo):
            self._info_of[item.device] = item
            self._outlet(item, "events", 0.0)  # early, so that receivers miss no event
        elif isinstance(item, Event):
            self._event(item)
        elif isinstance(item, Waveform):
            end = item.start + round((len(item.samples) - 1) * NS / item.rate)
            outlet = self._outlet(item, item.kind, item.rate)
            rows = np.ascontiguousarray(item.samples[:, None], np.float32)
            outlet.push_chunk(rows, self._stamp(item, end))
        elif isinstance(item, Beat):
            row = (item.sbp, item.dbp, item.map_, item.hr, item.quality, float(item.valid))
            values = [float("nan") if value is None else value for value in row]
            self._outlet(item, "beats", 0.0).push_sample(values, self._stamp(item, item.peak))

    def _event(self, event: Event) -> None:
        """Publish an event once its device is known; its time is the stamp."""
        info = self._info_of.get(event.device)
        if info is None:
            return
        length = (event.end - event.start) / NS
        content = {"kind": event.kind, "seconds": length, "detail": dict(event.detail)}
        text = strict_json(content, ensure_ascii=False)
        self._outlet(info, "events", 0.0).push_sample([text], self._stamp(info, event.start))

    def _stamp(self, item: Waveform | Beat | DeviceInfo, time: int) -> float:
        """Return `time`, ns since the epoch, on LSL's clock, s.

        A recording is shifted so that its first sample lies at the present.
        """
        if item.device not in self._shifts:
            now = self._clock.now()
            if item.source != "live" and abs(time - now) > PAST:
                now = time
            self._shifts[item.device] = round(self._lsl.local_clock() * NS) - now
        return (time + self._shifts[item.device]) / NS

    def _outlet(self, item: Waveform | Beat | DeviceInfo, kind: str, rate: float) -> Any:
        outlet = self._outlets.get((item.device, kind))
        if outlet is None:
            outlet = self._lsl.StreamOutlet(self._info(item, kind, rate), max_buffered=KEPT)
            self._outlets[item.device, kind] = outlet
        return outlet

    def _info(self, item: Waveform | Beat | DeviceInfo, kind: str, rate: float) -> Any:
        """Return the stream's description, by the XDF metadata conventions."""
        outlet = KINDS[kind]
        info = self._lsl.StreamInfo(
            f"{item.device} {outlet.name}",
            outlet.type,
            len(outlet.channels),
            rate if outlet.regular else self._lsl.IRREGULAR_RATE,
            outlet.format,
            f"{OURS}-{socket.gethostname()}-{item.device}-{kind}",
        )
        desc = info.desc()
        channels = desc.append_child("channels")
        for label, unit, type_ in outlet.channels:
            channel = channels.append_child("channel")
            for key, value in (("label", label), ("unit", unit), ("type", type_)):
                channel.append_child_value(key, value)
        known = self._info_of.get(item.device)
        model = str(known.detail.get("model", "")) if known else ""
        acquisition = desc.append_child("acquisition")
        acquisition.append_child_value("manufacturer", "innpar-stream")
        acquisition.append_child_value("model", model or item.device)
        for key, value in (
            ("device", item.device),
            ("source", item.source),
            ("session", item.session),
            ("network", known.model if known else ""),
            ("notice", "research software; not a medical device"),
        ):
            desc.append_child_value(key, value)
        # Each hop has its own time stamp, so gaps show in the stamps.
        desc.append_child("synchronization").append_child_value("can_drop_samples", "true")
        return info
