"""A record of the data folder as a device, with cuff readings drawn from its true pressures."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from innpar.devices import NS, Chunk, Event, HostClock, Tap
from innpar.devices.base import Source
from innpar.models.data.recordings import TrainingRecord

EPOCH = 1_700_000_000 * NS
"""Time of a record's first sample, ns since the Unix epoch."""
CHUNK_SECONDS = 8.0
CUFF_SECONDS = 30.0
"""A reading is the median over the beats of this long before it."""
ARTERIAL_NOISE = 1.5
"""SD of the error of a reading that comes from an arterial line, mmHg."""
CUFF_BEATS = 10
"""Fewest beats from which a reading is drawn."""


@dataclass(frozen=True, slots=True)
class ReferenceReading:
    """Cuff reading drawn from the true pressures.

    Attributes:
        seconds: Time since the start of the record, s.
        sbp: mmHg.
        dbp: mmHg.
        map_: mmHg.
    """

    seconds: float
    sbp: float
    dbp: float
    map_: float


def reference_readings(
    recording: TrainingRecord, rate: float, every: float | None
) -> list[ReferenceReading]:
    """Return the cuff readings of a record: one at its start, then one every `every` seconds.

    A reading due where the true pressure is unknown is delayed until it is known.

    Args:
        recording: The record.
        rate: Its sampling rate, Hz.
        every: Time between readings, s; None for no reading, infinity for only the first.
    """
    beats = recording.beats
    time = beats.peak / rate
    found: list[ReferenceReading] = []
    if every is None or not len(time):
        return found
    due = float(time[0]) + CUFF_SECONDS
    for k in range(len(time)):
        if time[k] < due:
            continue
        recent = slice(int(np.searchsorted(time, time[k] - CUFF_SECONDS)), k + 1)
        if recent.stop - recent.start < CUFF_BEATS:
            continue
        values = (np.median(p[recent]) for p in (beats.sbp, beats.dbp, beats.map_))
        found.append(ReferenceReading(float(time[k]), *map(float, values)))
        due = max(due + every, float(time[k]) + 1.0)
    return found


@dataclass(frozen=True, slots=True)
class RecordDevice:
    """A record as a device: its PPG, and cuff readings at their times.

    Attributes:
        recording: The record.
        rate: Its sampling rate, Hz.
        cuffs: The cuff readings, in order of time.
        id: See `Device`; likewise `source`, `polarity` and `site`.
    """

    recording: TrainingRecord
    rate: float
    cuffs: tuple[ReferenceReading, ...]
    id: str = "record"
    source: Source = "replay"
    polarity: Literal[-1, 0, 1] = 1
    site: str = "finger"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Yield the record as fast as it is consumed."""
        yield self._items()

    async def _items(self) -> AsyncIterator[Chunk | Event]:
        ppg = self.recording.ppg
        times = EPOCH + np.arange(len(ppg)) * round(NS / self.rate)
        step = round(CHUNK_SECONDS * self.rate)
        marks = [round(cuff.seconds * self.rate) for cuff in self.cuffs]
        edges = sorted({*range(0, len(ppg), step), *marks, len(ppg)})
        waiting = dict(zip(marks, self.cuffs, strict=True))
        for first, end in itertools.pairwise(edges):
            if first in waiting:
                cuff, at = waiting[first], int(times[first])
                detail = {"sbp": cuff.sbp, "dbp": cuff.dbp, "noise": ARTERIAL_NOISE}
                yield Event(self.id, "cuff", at, at, detail)
            rows = slice(first, end)
            yield Chunk(self.id, "ppg", ("ppg0",), self.rate, times[rows], ppg[rows, None])
