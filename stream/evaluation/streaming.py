"""Recordings streamed through the live pipeline, every beat beside the truth."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk, Event, HostClock, Tap
from innpar.devices.base import Source
from innpar.devices.timing.pace import VirtualClock
from innpar.models.data.recordings import IndexEntry, TrainingRecord
from innpar.models.predictor import Predictor
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, Item

Floats = npt.NDArray[np.float64]

EPOCH = 1_700_000_000 * NS
CHUNK_SECONDS = 8.0
CUFF_SECONDS = 30.0
"""A reading is the median over the beats of this long before it."""
CUFF_BEATS = 10
MATCH_SECONDS = 0.15
EXAMPLE_BEATS = 6
PIECE = 128
"""Samples of a reconstructed beat that enter the waveform figures, about a second."""


@dataclass(frozen=True, slots=True)
class DrawnReading:
    """A cuff reading made of the true pressures: seconds of signal, mmHg."""

    seconds: float
    sbp: float
    dbp: float
    map_: float


def readings(recording: TrainingRecord, rate: float, every: float | None) -> list[DrawnReading]:
    """Return the cuff readings of a record: one at its start, then one every `every` seconds.

    A reading that falls where no beats are known waits for the next that are. With None there is
    no reading, with infinity only the first.
    """
    beats = recording.beats
    time = beats.peak / rate
    found: list[DrawnReading] = []
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
        found.append(DrawnReading(float(time[k]), *map(float, values)))
        due = max(due + every, float(time[k]) + 1.0)
    return found


@dataclass(frozen=True, slots=True)
class RecordDevice:
    """A record as a device: its PPG, and the cuff readings where they were taken."""

    recording: TrainingRecord
    rate: float
    cuffs: tuple[DrawnReading, ...]
    id: str = "record"
    source: Source = "replay"
    polarity: Literal[-1, 0, 1] = 1
    site: str = "finger"

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Hand the record out as fast as it is taken."""
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
                detail = {"sbp": cuff.sbp, "dbp": cuff.dbp}
                yield Event(self.id, "cuff", at, at, detail)
            rows = slice(first, end)
            yield Chunk(self.id, "ppg", ("ppg0",), self.rate, times[rows], ppg[rows, None])


@dataclass(slots=True)
class _Beats:
    """A sink that keeps the beats."""

    estimates: list[Beat] = field(default_factory=list)

    async def send(self, item: Item) -> None:
        if isinstance(item, Beat):
            self.estimates.append(item)

    async def ready(self) -> None:
        """Return at once: memory always has room."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The beats of a record that have a true counterpart.

    Pressures are (n, 3) SBP, DBP, MAP in mmHg. `low` and `high` bound the interval, NaN without
    one; `cuff` is the last reading before the beat and `age` the seconds since, NaN before any.
    `wave` holds waveform errors a beat (n, 4): MAE, RMSE, largest slope error (mmHg/s), Pearson r.
    `offered` counts every beat the pipeline saw where the truth is known, valid or not. `example`
    is some seconds of waveform to look at, (3, samples): s, reconstructed and true mmHg.
    """

    subject: str
    source: str
    seconds: Floats
    found: Floats
    truth: Floats
    heart_rate: Floats
    true_heart_rate: Floats
    low: Floats
    high: Floats
    cuff: Floats
    age: Floats
    wave: Floats
    offered: int
    example: Floats


async def judge(recording: TrainingRecord, predictor: Predictor, every: float | None) -> Judged:
    """Stream one record and pair its beats with the true ones."""
    rate = predictor.manifest.rate
    cuffs = tuple(readings(recording, rate, every))
    engine, sink, clock = Engine(predictor), _Beats(), VirtualClock(EPOCH)
    await run([enrol(RecordDevice(recording, rate, cuffs), engine, clock)], engine, sink, clock)
    return _pair(recording, rate, cuffs, sink.estimates)


def _pair(
    recording: TrainingRecord, rate: float, cuffs: tuple[DrawnReading, ...], estimates: list[Beat]
) -> Judged:
    beats = recording.beats
    true_time = beats.peak / rate
    peak = np.array([(e.peak - EPOCH) / NS for e in estimates])
    nearest = np.clip(np.searchsorted(true_time, peak), 1, max(len(true_time) - 1, 1))
    if len(true_time) < 2 or not len(peak):
        nearest = np.zeros(len(peak), np.int64)
    else:
        before = peak - true_time[nearest - 1] < true_time[nearest] - peak
        nearest = nearest - before
    close = np.abs(true_time[nearest] - peak) <= MATCH_SECONDS if len(true_time) else peak != peak
    matched: list[int] = np.flatnonzero(close).tolist()
    valid = [k for k in matched if estimates[k].valid]
    at = nearest[valid]
    mine = [estimates[k] for k in valid]
    truth = np.stack((beats.sbp[at], beats.dbp[at], beats.map_[at]), axis=1)
    last = np.searchsorted([cuff.seconds for cuff in cuffs], peak[valid]) - 1
    held = [(cuffs[k].sbp, cuffs[k].dbp, cuffs[k].map_) if k >= 0 else None for k in last]
    nothing = (np.nan,) * 3
    began = np.array([np.nan, *(cuff.seconds for cuff in cuffs)])
    ages = peak[valid] - began[last + 1]
    rr = np.diff(true_time, append=np.nan)
    bounds = [_bounds(estimate) for estimate in mine]
    return Judged(
        recording.entry.subject,
        recording.entry.source,
        peak[valid],
        _columns([(e.sbp, e.dbp, e.map_) for e in mine], 3),
        truth,
        np.array([e.hr for e in mine], dtype=np.float64),
        60.0 / rr[at],
        _columns([low for low, _ in bounds], 3),
        _columns([high for _, high in bounds], 3),
        _columns([h or nothing for h in held], 3),
        ages,
        _columns([_wave_errors(e, recording, rate) for e in mine], 4),
        len(matched),
        _example(mine, recording, rate),
    )


def _columns(rows: list[tuple[float | None, ...]], width: int) -> Floats:
    return np.array(rows, dtype=np.float64).reshape(-1, width)


def _bounds(estimate: Beat) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if estimate.interval is None:
        return (np.nan,) * 3, (np.nan,) * 3
    each = (estimate.interval.sbp, estimate.interval.dbp, estimate.interval.map_)
    return tuple(b[0] for b in each), tuple(b[1] for b in each)


def _example(estimates: list[Beat], recording: TrainingRecord, rate: float) -> Floats:
    """Return the beats in the middle of a record, (3, samples), NaN where one is left out."""
    middle, end = len(estimates) // 2, 0
    parts = [np.empty((3, 0))]
    for estimate in estimates[middle : middle + EXAMPLE_BEATS]:
        start = round((estimate.abp_start - EPOCH) / NS * rate)
        truth = recording.abp[start : start + len(estimate.abp)]
        if start > end > 0:
            parts.append(np.full((3, 1), np.nan))
        end = start + len(truth)
        time = (start + np.arange(len(truth))) / rate
        parts.append(np.stack((time, estimate.abp[: len(truth)].astype(np.float64), truth)))
    return np.concatenate(parts, axis=1)


def _wave_errors(
    estimate: Beat, recording: TrainingRecord, rate: float
) -> tuple[float, float, float, float]:
    start = round((estimate.abp_start - EPOCH) / NS * rate)
    found = estimate.abp[: PIECE * 2].astype(np.float64)
    truth = recording.abp[start : start + len(found)]
    if len(truth) < len(found) or len(found) < 8 or not np.isfinite(truth).all():
        return (np.nan,) * 4
    error = found - truth
    slope = float(np.abs(np.diff(found).max() - np.diff(truth).max()) * rate)
    a, b = found - found.mean(), truth - truth.mean()
    r = float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-9))
    return float(np.abs(error).mean()), float(np.sqrt((error**2).mean())), slope, r


def stream_records(
    folder: Path, entries: list[IndexEntry], predictor: Predictor, every: float | None
) -> list[Judged]:
    """Stream records; those of which a beat could be judged are returned.

    Args:
        folder: The data folder.
        entries: Rows of its index.
        predictor: The network.
        every: Seconds between cuff readings; None without any, infinity for one at the start.

    Raises:
        ModelError: A record cannot be used.
    """
    import asyncio

    from rich.console import Console
    from rich.progress import track

    from innpar.stream.evaluation.dataset import recordings

    streamed = track(
        recordings(folder, entries),
        f"streaming {entries[0].split}",
        total=len(entries),
        console=Console(stderr=True),
    )
    judged = [asyncio.run(judge(recording, predictor, every)) for recording in streamed]
    return [one for one in judged if len(one.seconds)]
