"""Recordings of PPG with invasive arterial pressure, and training windows cut from them.

A data folder contains ``index.csv`` (see `innpar.models.data.index`) and the ``.npz`` files that it
lists (int16 codes with scales, one verdict per ten seconds).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.data.index import IndexEntry, folder_of
from innpar.models.data.record_file import read_record
from innpar.models.data.reference import Beats, beats_of, local_lag, plateaus, window_pressures
from innpar.models.errors import DataError

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Resample = Callable[[npt.NDArray[np.float64], float, float], npt.NDArray[np.float64]]

VERDICT_SECONDS = 10
_INTEGER = ("start", "first", "last", "record", "subject")
_REAL = ("time", "sbp", "dbp", "map_")
_PLATEAU = 6  # consecutive samples at a record's extreme that count as clipping


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One record at one sampling rate, the pressure aligned with the PPG.

    Attributes:
        entry: Row of the index.
        ppg: (n,) in the sensor's unit, NaN where missing.
        abp: (n,) mmHg, NaN where missing.
        good: (n,) True where both signals are usable.
        beats: Reference beats, as sample indices on the same axis.
    """

    entry: IndexEntry
    ppg: npt.NDArray[np.float64]
    abp: npt.NDArray[np.float64]
    good: npt.NDArray[np.bool_]
    beats: Beats


def load(folder: Path, entry: IndexEntry, rate: float, resample: Resample) -> TrainingRecord:
    """Read one record, resample it, align its pressure and find its reference beats.

    Args:
        folder: The data folder.
        entry: Row of its index.
        rate: Target sampling rate, Hz.
        resample: ``(values, from_rate, to_rate)``; keeps NaN.

    Raises:
        DataError: The file is missing or has another layout.
    """
    values, verdict, beat_rate = read_record(folder_of(folder) / entry.file)
    clipped = plateaus(values["ppg"], _PLATEAU) | plateaus(values["abp"], _PLATEAU)
    ppg, abp = (v if entry.rate == rate else resample(v, entry.rate, rate) for v in values.values())
    per_verdict = round(VERDICT_SECONDS * rate)
    block = round(VERDICT_SECONDS * entry.rate)
    if entry.source.startswith("mimic") or entry.source.startswith("bidmc"):
        verdict = verdict & ~_any_in_blocks(clipped, block, len(verdict))
    good = np.zeros(len(ppg), dtype=bool)
    spread = np.repeat(verdict, per_verdict)[: len(ppg)]
    good[: len(spread)] = spread
    good &= np.isfinite(ppg) & np.isfinite(abp)
    lag = local_lag(ppg, abp, verdict, entry.lag, rate)
    source = np.arange(len(ppg)) - lag
    inside = (source >= 0) & (source < len(abp))
    source = np.clip(source, 0, len(abp) - 1)
    aligned = np.where(inside, abp[source], np.nan)
    good &= inside & good[source] & np.isfinite(aligned)
    typical = np.nanmedian(beat_rate[verdict]) if verdict.any() else np.nan
    return TrainingRecord(entry, ppg, aligned, good, beats_of(aligned, good, float(typical), rate))


def _any_in_blocks(flags: npt.NDArray[np.bool_], block: int, count: int) -> npt.NDArray[np.bool_]:
    """Return for each of `count` blocks of `block` samples whether any flag is set, (count,)."""
    padded = np.zeros(block * count, dtype=bool)
    padded[: min(len(flags), len(padded))] = flags[: len(padded)]
    return np.asarray(padded.reshape(count, block).any(axis=1))


@dataclasses.dataclass(frozen=True, slots=True)
class Windows:
    """Every good window of a split: two long signals and the windows' positions in them.

    Attributes:
        ppg: (samples,) float32, the records one after another, in the sensor's unit.
        abp: (samples,) float32, likewise, mmHg.
        rate: Sampling rate, Hz.
        start: (n,) first sample of each window's raw buffer, guards included.
        first: (n,) earliest start within the same good segment.
        last: (n,) latest start within the same good segment.
        record: (n,) index into `entries`.
        subject: (n,) index into `subjects`.
        time: (n,) middle of the window since the start of its record, s.
        sbp: (n,) mmHg, median over the beats of the window's interior.
        dbp: (n,) mmHg, likewise.
        map_: (n,) mmHg, likewise.
        entries: Rows of the index that have windows.
        subjects: Names of their subjects.
    """

    ppg: Floats
    abp: Floats
    rate: float
    start: Ints
    first: Ints
    last: Ints
    record: Ints
    subject: Ints
    time: Floats
    sbp: Floats
    dbp: Floats
    map_: Floats
    entries: tuple[IndexEntry, ...]
    subjects: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.start)

    def of(self, rows: Ints | npt.NDArray[np.bool_]) -> Windows:
        """Return the windows selected by indices or by a mask (n,)."""
        return dataclasses.replace(self, **{k: getattr(self, k)[rows] for k in _INTEGER + _REAL})


def windows_of(
    recordings: Iterable[TrainingRecord],
    buffer: int,
    hop: int,
    interior: tuple[int, int],
    rate: float,
) -> Windows:
    """Cut recordings into windows.

    Args:
        recordings: Aligned records.
        buffer: Length of a raw buffer (window and both guards), samples.
        hop: Distance between starts, samples.
        interior: Range [first, end) of the buffer whose reference beats count, samples.
        rate: Sampling rate of the recordings, Hz.

    Raises:
        DataError: No record has a good window.
    """
    columns: list[tuple[npt.NDArray[np.float64], ...]] = []
    signals: list[tuple[Floats, Floats]] = []
    entries: list[IndexEntry] = []
    subjects: list[str] = []
    offset = 0
    for recording in recordings:
        first, last = _segments(recording.good, buffer)
        starts = [np.arange(a, b + 1, hop) for a, b in zip(first, last, strict=True)]
        if not starts:
            log.info("%s has no good window", recording.entry.file)
            continue
        counts = [len(s) for s in starts]
        start = np.concatenate(starts)
        bounds = np.repeat(first, counts), np.repeat(last, counts)
        pressures = window_pressures(recording.beats, start + interior[0], start + interior[1])
        keep = np.isfinite(pressures[:, 0])
        if not keep.any():
            continue
        if recording.entry.subject not in subjects:
            subjects.append(recording.entry.subject)
        subject = subjects.index(recording.entry.subject)
        time = (start + buffer / 2) / rate
        numbers = (np.full(len(start), len(entries)), np.full(len(start), subject))
        rows = (start + offset, bounds[0] + offset, bounds[1] + offset, *numbers, time)
        columns.append(tuple(column[keep] for column in (*rows, *pressures.T)))
        signals.append((recording.ppg.astype(np.float32), recording.abp.astype(np.float32)))
        entries.append(recording.entry)
        offset += len(recording.ppg)
    if not columns:
        raise DataError("no good window in any of the records; add longer or cleaner ones")
    joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    integers: list[Any] = [column.astype(np.int64) for column in joined[: len(_INTEGER)]]
    reals: list[Any] = [column.astype(np.float32) for column in joined[len(_INTEGER) :]]
    ppg, abp = (np.concatenate(parts) for parts in zip(*signals, strict=True))
    named = zip(_INTEGER + _REAL, integers + reals, strict=True)
    return Windows(
        ppg=ppg,
        abp=abp,
        rate=rate,
        entries=tuple(entries),
        subjects=tuple(subjects),
        **dict(named),
    )


def _segments(good: npt.NDArray[np.bool_], buffer: int) -> tuple[Ints, Ints]:
    """Return the first and the last start of a buffer in each good segment that holds one."""
    edges = np.diff(np.concatenate(([0], good.astype(np.int8), [0])))
    first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = end - first >= buffer
    return first[long], end[long] - buffer
