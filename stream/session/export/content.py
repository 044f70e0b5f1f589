"""Contents of a session for the exports: in order, or joined into gap-free segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, BadPacket, Chunk, Event
from innpar.devices.session.contents import about, devices_in, entry_of
from innpar.devices.session.items import BEATS, SIGNALS, Topic
from innpar.devices.session.published import unpack_beat
from innpar.devices.session.reader import SessionFile
from innpar.stream.session.events import events_of
from innpar.stream.session.index import progress
from innpar.stream.windows.resample import HOLE

LONGEST = 2 * 3600
"""Longest segment, s; it bounds the memory in use."""

ESTIMATE = "estimate"
"""Name of the reconstructed arterial pressure, beside those of the recorded signals."""

UNITS = {"ppg": "", "acc": "g", "abp": "mmHg", ESTIMATE: "mmHg"}
FIRST_SECONDS = 60
"""Seconds within which every signal present from the beginning has started."""


class PlacedBeat(NamedTuple):
    """A published beat: id of the device, and the ``bp-beat/1`` message."""

    device: str
    payload: dict[str, Any]

    @property
    def time(self) -> int:
        """Time of the systolic peak, ns since the Unix epoch."""
        return round(float(self.payload["t"]) * 1000) * (NS // 1000)


@dataclass(slots=True, eq=False)
class Segment:
    """Gap-free samples of one signal.

    Attributes:
        device: Id of the device.
        signal: ``ppg``, ``acc``, ``abp`` (true pressure) or `ESTIMATE`.
        channels: Labels of the channels.
        rate: Stated sampling rate, Hz.
        number: Number of the segment within the signal, from 1.
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples, channels).
    """

    device: str
    signal: str
    channels: tuple[str, ...]
    rate: float
    number: int
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]

    @property
    def measured_rate(self) -> float:
        """Sampling rate by the sample times, Hz; the stated one for a single sample."""
        span = int(self.times[-1]) - int(self.times[0])
        return (len(self.times) - 1) * NS / span if span else self.rate


@dataclass(slots=True)
class Segments:
    """Join the chunks of one signal of one device into gap-free segments."""

    signal: str
    _parts: list[Chunk] = field(default_factory=list)
    _number: int = 0
    _held: int = 0

    def push(self, chunk: Chunk) -> Iterator[Segment]:
        """Add a chunk; yield the segments that it ends."""
        if not len(chunk):
            return
        finite = np.asarray(np.isfinite(chunk.data).all(axis=1))
        steps = np.diff(chunk.times)
        apart = (steps <= 0) | (steps > HOLE * NS / chunk.rate) | (finite[1:] != finite[:-1])
        edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(chunk)]
        for start, stop in pairwise(edges):
            piece = chunk[start:stop]
            whole = bool(np.isfinite(piece.data).all())
            if not whole or (self._parts and not self._joins(piece)):
                yield from self.flush()
            if whole:
                self._parts.append(piece)
                self._held += len(piece)

    def flush(self) -> Iterator[Segment]:
        """Yield the last segment."""
        if not self._parts:
            return
        first = self._parts[0]
        self._number += 1
        times = np.concatenate([part.times for part in self._parts])
        data = np.concatenate([part.data for part in self._parts])
        self._parts, self._held = [], 0
        yield Segment(
            first.device, self.signal, first.channels, first.rate, self._number, times, data
        )

    def _joins(self, piece: Chunk) -> bool:
        last = self._parts[-1]
        alike = (last.channels, last.rate) == (piece.channels, piece.rate)
        step = int(piece.times[0]) - int(last.times[-1])
        near = 0 < step <= HOLE * NS / piece.rate
        return alike and near and self._held < LONGEST * piece.rate


def contents(file: SessionFile) -> Iterator[Chunk | Event | PlacedBeat]:
    """Yield samples, events and published beats in order; damaged messages are left out.

    A cuff reading that was withdrawn later is marked, see `marked`.
    """
    cuffs = {device: _of_kind(events, "cuff") for device, events in events_of(file).items()}
    for message in progress(file.messages(), len(file.blocks), file):
        channel = file.channels.get(message.channel)
        if channel is None:
            continue
        topic = Topic.of(channel.topic)
        try:
            if topic.what == BEATS:
                yield PlacedBeat(topic.device, unpack_beat(message.data))
                continue
            entry = entry_of(file, message)
        except BadPacket:
            continue
        if isinstance(entry, Event) and entry.kind == "cuff":
            entry = next(cuffs.get(entry.device, iter(())), entry)
        if isinstance(entry, (Chunk, Event)):
            yield entry


def _of_kind(events: list[Event], kind: str) -> Iterator[Event]:
    return (event for event in events if event.kind == kind)


def sampled(item: Chunk | Event | PlacedBeat) -> tuple[str, Chunk] | None:
    """Return the signal's name and the samples of an item; None without samples."""
    if isinstance(item, Chunk):
        return (item.signal, item) if len(item) else None
    if isinstance(item, Event):
        return None
    wave = estimate(item)
    return None if wave is None else (ESTIMATE, wave)


def estimate(beat: PlacedBeat) -> Chunk | None:
    """Return a beat's reconstructed pressure, from foot to foot; None without one."""
    abp = beat.payload.get("abp") or {}
    samples, rate = abp.get("samples"), abp.get("rate")
    if not samples or not rate:
        return None
    data = np.array(samples, dtype=np.float64)[:, None]
    start = round(float(abp["start"]) * 1000) * (NS // 1000)
    times = start + np.rint(np.arange(len(data)) * (NS / rate)).astype(np.int64)
    return Chunk(beat.device, "abp", (f"abp_{ESTIMATE}",), float(rate), times, data)


def segments(file: SessionFile) -> Iterator[Segment]:
    """Yield every gap-free segment of every signal as soon as it has ended."""
    joined: dict[tuple[str, str], Segments] = {}
    for item in contents(file):
        named = sampled(item)
        if named is not None:
            signal, chunk = named
            key = chunk.device, signal
            yield from joined.setdefault(key, Segments(signal)).push(chunk)
    for left in joined.values():
        yield from left.flush()


class PlacedSignal(NamedTuple):
    """A segment and the time span of its events; a gap belongs to the segment after it.

    Attributes:
        segment: The segment.
        low: Start of the span, ns since the Unix epoch.
        high: Last moment of the span, ns since the Unix epoch.
    """

    segment: Segment
    low: int
    high: int

    def holds(self, time: int) -> bool:
        """Return whether `time`, ns since the Unix epoch, lies in the span."""
        return self.low <= time <= self.high

    def within(self, time: int) -> int:
        """Return `time`, or the nearest end of the segment if it lies outside."""
        return min(max(time, int(self.segment.times[0])), int(self.segment.times[-1]))


def placed(file: SessionFile) -> Iterator[PlacedSignal]:
    """Yield the segments; every moment lies in the span of exactly one per signal."""
    held: dict[tuple[str, str], PlacedSignal] = {}
    for segment in segments(file):
        key = segment.device, segment.signal
        low = 0
        if (before := held.get(key)) is not None:
            low = int(before.segment.times[-1]) + 1
            yield before._replace(high=low - 1)
        held[key] = PlacedSignal(segment, low, 2**63 - 1)
    yield from held.values()


def known_of(file: SessionFile) -> dict[str, dict[str, Any]]:
    """Return the noted properties of every device: source, site, subject, …"""
    return {device: about(file, device) for device in devices_in(file)}


def beginning(file: SessionFile) -> int:
    """Return the time of the earliest sample, ns since the Unix epoch; 0 without samples."""
    missing = {n for n, c in file.channels.items() if Topic.of(c.topic).what in SIGNALS}
    first = 0
    for message in file.messages(file.holding(missing)):
        if not missing or (first and message.time > first + FIRST_SECONDS * NS):
            break
        if message.channel not in missing:
            continue
        try:
            chunk = entry_of(file, message)
        except BadPacket:
            continue
        if isinstance(chunk, Chunk) and len(chunk):
            missing.discard(message.channel)
            first = min(first or int(chunk.times[0]), int(chunk.times[0]))
    return first


def plain(text: str) -> str:
    """Return `text` as a file or record name, with only letters, digits, ``-`` and ``_``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text)
