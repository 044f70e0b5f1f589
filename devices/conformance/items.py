"""Rules of `Chunk`, `Event` and `Device`, checked on the items of a device."""

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
    "cuff_undone": {"sbp": (int, float), "dbp": (int, float)},
}
"""Kind of event → required fields of its detail and their types."""

FUTURE = 50_000_000
"""ns by which a live sample may precede its arrival, as clocks are estimated."""

STALE = 60 * NS
"""Greatest age of a live sample on arrival, ns."""

HOLE = 1.5
"""Sample periods without a PPG sample that require a gap event."""

DISORDER = 0.01
"""Largest fraction of timestamps out of order; the pipeline drops such samples."""

KEPT = 50
"""Chunks whose content is compared again at the end."""


@dataclass(slots=True)
class SignalRules:
    """State of the checks of one signal."""

    channels: tuple[str, ...] = ()
    last: int | None = None
    samples: int = 0
    disordered: int = 0
    steps: list[int] = field(default_factory=list)
    rate: float = 0.0
    gap: Event | None = None


class Judge:
    """Checks of the items of one run.

    Args:
        device: The device.
        clock: The host's.

    Attributes:
        is_open: Whether the device has been opened.
    """

    def __init__(self, device: Device, clock: HostClock) -> None:
        self._device = device
        self._clock = clock
        self._faults: list[str] = []
        self._signals: dict[str, SignalRules] = {}
        self._kept: list[tuple[Chunk, bytes]] = []
        self._items = 0
        self._id = ""
        self.is_open: bool = False

    def fault(self, text: str) -> None:
        """Note a violation, once."""
        if text not in self._faults:
            self._faults.append(text)

    def tap(self, channel: str, time: int, raw: bytes) -> None:
        """Check a call of the tap."""
        if not (isinstance(channel, str) and isinstance(time, int) and isinstance(raw, bytes)):
            self.fault("the tap must be called with (channel name, int ns, bytes)")
        elif abs(time - self._clock.now()) > STALE and self._device.source == "live":
            self.fault("the tap's time is not the arrival in ns since the Unix epoch")

    def opened(self) -> None:
        """Check the attributes of the device once it is open."""
        device = self._device
        self.is_open, self._id = True, device.id
        if not re.fullmatch(r"[a-z0-9_.-]+", device.id):
            self.fault(f"id {device.id!r} may contain only a-z, 0-9, '-', '_' and '.'")
        if device.source not in get_args(Source):
            self.fault(f"source {device.source!r} is not one of {get_args(Source)}")
        if device.polarity not in (-1, 0, 1):
            self.fault(f"polarity {device.polarity!r} is not one of -1, 0, 1")
        if device.site not in ("wrist", "finger", "head", "unknown"):
            self.fault(f"site {device.site!r} is not one of wrist, finger, head, unknown")

    def take(self, item: object) -> None:
        """Check one item."""
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
            self.fault("a notice's code must be a str, preferably a NoticeCode")
        try:
            json.dumps(dict(event.detail), allow_nan=False)
        except (TypeError, ValueError):
            self.fault(f"the detail of a {kind} event is not plain JSON")
        if kind == "gap":
            seen = self._signals.setdefault(event.detail.get("signal", "ppg"), SignalRules())
            seen.gap = event
            if seen.last is not None and event.start != seen.last:
                self.fault("a gap does not start at the time of the last sample before it")
            return
        if event.start != event.end:
            self.fault(f"a {kind} event has a duration; only a gap may")
        ppg = self._signals.get("ppg")
        if ppg is not None and ppg.last is not None and event.start < ppg.last:
            self.fault(f"a {kind} event follows samples of a later time; it must precede them")

    def _chunk(self, chunk: Chunk) -> None:
        seen = self._signals.setdefault(chunk.signal, SignalRules())
        if chunk.signal not in get_args(Signal):
            self.fault(f"a chunk of unknown signal {chunk.signal!r}")
        if chunk.times.dtype != np.int64 or chunk.data.dtype != np.float64:
            self.fault(
                f"times must be int64 and data float64, not {chunk.times.dtype} and "
                f"{chunk.data.dtype}"
            )
        if not chunk.channels or len(set(chunk.channels)) < len(chunk.channels):
            self.fault(f"its channels need distinct labels, not {chunk.channels}")
        if seen.channels not in ((), chunk.channels) and seen.gap is None:
            self.fault("its channels change without a gap")
        seen.channels, seen.rate = chunk.channels, chunk.rate
        if len(self._kept) < KEPT:
            self._kept.append((chunk, chunk.times.tobytes() + chunk.data.tobytes()))
        if len(chunk):
            self._times(seen, chunk)

    def _times(self, seen: SignalRules, chunk: Chunk) -> None:
        times = chunk.times.tolist()
        if self._device.source == "live":
            now = self._clock.now()
            if times[-1] > now + FUTURE:
                self.fault(f"a sample is {(times[-1] - now) / 1e6:.0f} ms in the future")
            if times[0] < now - STALE:
                self.fault("a sample's time is not ns since the Unix epoch, or over a minute old")
        if seen.gap is not None and seen.last is not None and times[0] != seen.gap.end:
            self.fault("a gap does not end at the time of the first sample after it")
        after_gap = seen.gap is not None
        seen.gap = None
        for number, now in enumerate(times):
            if seen.last is not None and not (after_gap and number == 0):
                self._step(seen, chunk, now - seen.last)
            seen.last = now
        seen.samples += len(times)

    def _step(self, seen: SignalRules, chunk: Chunk, step: int) -> None:
        if step <= 0:
            seen.disordered += 1
        elif step <= HOLE * NS / chunk.rate:
            seen.steps.append(step)
            del seen.steps[:-10_000]
        elif chunk.signal == "ppg" and self._device.source != "replay":
            # Holes in files are found by the pipeline.
            self.fault(
                f"{step / 1e6:.1f} ms without a sample at {chunk.rate:g} Hz, and no gap event "
                "before the next one"
            )

    def ended(self) -> None:
        """Note that the iterator has ended by itself."""
        if self._device.source == "live":
            self.fault("it ended; a live device iterates endlessly and reconnects by itself")

    def stopped(self) -> None:
        """Note that the time of the run is over."""
        if self._items == 0:
            self.fault("it yields nothing")

    def verdict(self) -> list[str]:
        """Return all violations."""
        if not any(seen.samples for seen in self._signals.values()):
            self.fault("no samples arrived; is it worn and switched on?")
        for signal, seen in self._signals.items():
            if seen.disordered > DISORDER * seen.samples:
                self.fault(f"{signal}: {seen.disordered} times are not after the one before")
            if len(seen.steps) > 20:
                measured = NS / float(np.median(seen.steps))
                if not 0.8 < measured / seen.rate < 1.25:
                    self.fault(
                        f"{signal}: its nominal rate is {seen.rate:g} Hz, "
                        f"measured {measured:.4g} Hz"
                    )
        for chunk, content in self._kept:
            if chunk.times.tobytes() + chunk.data.tobytes() != content:
                self.fault("a chunk changes after it was yielded; copy buffers before reusing them")
        return self._faults
