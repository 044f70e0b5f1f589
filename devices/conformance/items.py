"""What a device yields, held against what `Chunk`, `Event` and `Device` promise."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from innpar.devices.base import NS, Chunk, Device, Event, EventKind, HostClock, Signal, Source

NEEDED: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "gap": {"why": str, "lost": (int, type(None))},
    "battery": {"percent": (int, float)},
    "wear": {"worn": bool},
    "motion": {"moving": bool},
    "intervals": {"ms": list, "error_ms": list, "moving": list},
    "clock": {"skew_ppm": (int, float), "error_ms": (int, float)},
    "marker": {"text": str},
    "notice": {"text": str},
    "disconnected": {"why": str},
    "cuff": {"sbp": (int, float), "dbp": (int, float)},
}
"""Kind of event → what its detail has to hold."""

FUTURE = 50_000_000
"""ns that a live sample may seem to lie ahead of its arrival: clocks are estimated."""

STALE = 60 * NS
"""A live sample is not older than this on arrival."""

HOLE = 1.5
"""Sample periods without a PPG sample that have to be told as a gap."""

DISORDER = 0.01
"""Part of the samples that may be out of order: sensors do stumble, and the pipeline drops them."""

KEPT = 50
"""Chunks whose content is looked at once more at the end."""


@dataclass(slots=True)
class SignalRules:
    """What has been seen of one signal."""

    channels: tuple[str, ...] = ()
    last: int | None = None
    samples: int = 0
    disordered: int = 0
    steps: list[int] = field(default_factory=list)
    rate: float = 0.0
    gap: Event | None = None


class Judge:
    """Takes the items of one opening.

    Args:
        device: Whose.
        clock: The host's.
    """

    def __init__(self, device: Device, clock: HostClock) -> None:
        self._device = device
        self._clock = clock
        self._faults: list[str] = []
        self._lanes: dict[str, SignalRules] = {}
        self._kept: list[tuple[Chunk, bytes]] = []
        self._items = 0
        self._id = ""
        self.is_open: bool = False

    def fault(self, text: str) -> None:
        """Note what is wrong, once."""
        if text not in self._faults:
            self._faults.append(text)

    def tap(self, channel: str, time: int, raw: bytes) -> None:
        """Look at what a tap is handed."""
        if not (isinstance(channel, str) and isinstance(time, int) and isinstance(raw, bytes)):
            self.fault("the tap takes (channel name, int ns, bytes)")
        elif abs(time - self._clock.now()) > STALE and self._device.source == "live":
            self.fault("the tap's time is not that of arrival, ns since the Unix epoch")

    def opened(self) -> None:
        """Look at what the device says of itself once it is open."""
        device = self._device
        self.is_open, self._id = True, device.id
        if not re.fullmatch(r"[a-z0-9_.-]+", device.id):
            self.fault(f"id {device.id!r} is not made of a-z, 0-9, '-', '_' and '.'")
        if device.source not in get_args(Source):
            self.fault(f"source {device.source!r} is none of {get_args(Source)}")
        if device.polarity not in (-1, 0, 1):
            self.fault(f"polarity {device.polarity!r} is none of -1, 0, 1")
        if device.site not in ("wrist", "finger", "head", "unknown"):
            self.fault(f"site {device.site!r} is none of wrist, finger, head, unknown")

    def take(self, item: object) -> None:
        """Look at one item."""
        self._items += 1
        if isinstance(item, Event):
            self._event(item)
        elif isinstance(item, Chunk):
            self._chunk(item)
        else:
            self.fault(f"it yields {type(item).__name__}, neither Chunk nor Event")
            return
        if item.device != self._id or self._device.id != self._id:
            self.fault(f"its id changes after opening: {self._id!r}, then {item.device!r}")

    def _event(self, event: Event) -> None:
        kind = event.kind
        if kind not in get_args(EventKind):
            self.fault(f"an event of unknown kind {kind!r}")
        for key, types in NEEDED.get(kind, {}).items():
            if key not in event.detail or not isinstance(event.detail[key], types):
                self.fault(f"a {kind} event without a proper {key!r} in its detail")
        if kind == "notice" and not isinstance(event.detail.get("code", ""), str):
            self.fault("a notice's code is a str, best one of NoticeCode")
        try:
            json.dumps(dict(event.detail), allow_nan=False)
        except (TypeError, ValueError):
            self.fault(f"the detail of a {kind} event is not plain JSON")
        if kind == "gap":
            lane = self._lanes.setdefault(event.detail.get("signal", "ppg"), SignalRules())
            lane.gap = event
            if lane.last is not None and event.start != lane.last:
                self.fault("a gap does not start at the time of the last sample before it")
            return
        if event.start != event.end:
            self.fault(f"a {kind} event lasts; only a gap may")
        ppg = self._lanes.get("ppg")
        if ppg is not None and ppg.last is not None and event.start < ppg.last:
            self.fault(f"a {kind} event comes after samples of a later time; it has to be ahead")

    def _chunk(self, chunk: Chunk) -> None:
        lane = self._lanes.setdefault(chunk.signal, SignalRules())
        if chunk.signal not in get_args(Signal):
            self.fault(f"a chunk of unknown signal {chunk.signal!r}")
        if chunk.times.dtype != np.int64 or chunk.data.dtype != np.float64:
            self.fault(
                f"times are int64 and data float64, not {chunk.times.dtype} and {chunk.data.dtype}"
            )
        if not chunk.channels or len(set(chunk.channels)) < len(chunk.channels):
            self.fault(f"its channels need a name each, not {chunk.channels}")
        if lane.channels not in ((), chunk.channels) and lane.gap is None:
            self.fault("its channels change without a gap")
        lane.channels, lane.rate = chunk.channels, chunk.rate
        if len(self._kept) < KEPT:
            self._kept.append((chunk, chunk.times.tobytes() + chunk.data.tobytes()))
        if len(chunk):
            self._times(lane, chunk)

    def _times(self, lane: SignalRules, chunk: Chunk) -> None:
        times = chunk.times.tolist()
        if self._device.source == "live":
            now = self._clock.now()
            if times[-1] > now + FUTURE:
                self.fault(f"a sample lies {(times[-1] - now) / 1e6:.0f} ms in the future")
            if times[0] < now - STALE:
                self.fault("a sample's time is not ns since the Unix epoch, or over a minute old")
        if lane.gap is not None and lane.last is not None and times[0] != lane.gap.end:
            self.fault("a gap does not end at the time of the first sample after it")
        told = lane.gap is not None
        lane.gap = None
        for number, now in enumerate(times):
            if lane.last is not None and not (told and number == 0):
                self._step(lane, chunk, now - lane.last)
            lane.last = now
        lane.samples += len(times)

    def _step(self, lane: SignalRules, chunk: Chunk, step: int) -> None:
        if step <= 0:
            lane.disordered += 1
        elif step <= HOLE * NS / chunk.rate:
            lane.steps.append(step)
            del lane.steps[:-10_000]
        elif chunk.signal == "ppg" and self._device.source != "replay":
            # What is missing in a file the pipeline finds by itself.
            self.fault(
                f"{step / 1e6:.1f} ms without a sample at {chunk.rate:g} Hz, and no gap event "
                "ahead of what follows"
            )

    def ended(self) -> None:
        """The iterator has ended by itself."""
        if self._device.source == "live":
            self.fault("it ended; a live device iterates for ever, reconnecting by itself")

    def stopped(self) -> None:
        """The time to listen was over."""
        if self._items == 0:
            self.fault("it yields nothing")

    def verdict(self) -> list[str]:
        """Return every fault."""
        if not any(lane.samples for lane in self._lanes.values()):
            self.fault("no samples came; is it worn and switched on?")
        for signal, lane in self._lanes.items():
            if lane.disordered > DISORDER * lane.samples:
                self.fault(f"{signal}: {lane.disordered} times are not after the one before")
            if len(lane.steps) > 20:
                measured = NS / float(np.median(lane.steps))
                if not 0.8 < measured / lane.rate < 1.25:
                    self.fault(f"{signal}: it says {lane.rate:g} Hz and sends {measured:.4g} Hz")
        for chunk, content in self._kept:
            if chunk.times.tobytes() + chunk.data.tobytes() != content:
                self.fault("a chunk changes after it was handed out: copy what is used again")
        return self._faults
