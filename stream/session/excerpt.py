"""Read some seconds of a session: samples, events and beats, without reading the whole file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, BadPacket, Chunk, Event
from innpar.devices.session.contents import entry_of
from innpar.devices.session.items import BEATS, Topic
from innpar.devices.session.published import unpack_beat
from innpar.devices.session.reader import SessionFile
from innpar.stream.session.events import events_of

BEFORE, AFTER = 15, 15
"""Seconds before and after an excerpt within which all its messages were recorded."""

AROUND = 8 * NS
"""Extra samples kept on either side, ns: a window of the network, its guards and a hop."""


@dataclass(slots=True)
class Excerpt:
    """One device's samples, beats and events within a time span.

    Attributes:
        low: Start, ns since the Unix epoch.
        high: End, ns since the Unix epoch.
        chunks: Samples of each signal within the span and `AROUND` it.
        beats: ``bp-beat/1`` messages of beats whose waveform overlaps the span.
        events: Events that begin within the span; a withdrawn cuff reading is marked.
    """

    low: int
    high: int
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)
    beats: list[dict[str, Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def samples(self, signal: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return (times, data) of a signal within the span; gaps are left out."""
        found = self.chunks.get(signal, [])
        wide = len(found[0].channels) if found else 0
        alike = [chunk for chunk in found if len(chunk.channels) == wide]
        if not alike:
            return np.empty(0, np.int64), np.empty((0, 0))
        times = np.concatenate([chunk.times for chunk in alike])
        data = np.concatenate([chunk.data for chunk in alike])
        inside = (times >= self.low) & (times < self.high)
        return times[inside], data[inside]


def stretch(file: SessionFile, device: str, low: int, high: int) -> Excerpt:
    """Read a device's excerpt between two times, ns since the Unix epoch."""
    found = Excerpt(low, high)
    for place, block in enumerate(file.blocks):
        if block.end < low - BEFORE * NS or block.start > high + AFTER * NS:
            continue
        for message in file.messages([place]):
            channel = file.channels.get(message.channel)
            if channel is None or Topic.of(channel.topic).device != device:
                continue
            try:
                if Topic.of(channel.topic).what == BEATS:
                    _keep_beat(found, unpack_beat(message.data))
                elif entry := entry_of(file, message):
                    _keep(found, entry)
            except BadPacket:
                continue
    if any(event.kind == "cuff" for event in found.events):  # it may be withdrawn later
        events = events_of(file)[device]
        found.events = [event for event in events if low <= event.start < high]
    return found


def _keep(found: Excerpt, entry: Any) -> None:
    if isinstance(entry, Event):
        if found.low <= entry.start < found.high:
            found.events.append(entry)
        return
    low, high = found.low - AROUND, found.high + AROUND
    touches = isinstance(entry, Chunk) and len(entry) and entry.times[-1] >= low
    if touches and entry.times[0] < high:
        found.chunks.setdefault(entry.signal, []).append(entry)


def _keep_beat(found: Excerpt, beat: dict[str, Any]) -> None:
    abp = beat.get("abp") or {}
    start = float(abp.get("start") or beat["t"])
    end = start + len(abp.get("samples") or ()) / float(abp.get("rate") or 1)
    if end * NS >= found.low and start * NS < found.high:
        found.beats.append(beat)
