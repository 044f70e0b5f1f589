"""Recordings of PPG with invasive pressure, in the shared layout, as windows to learn from.

A folder holds ``index.csv`` (file, subject, split, fs, lag_s, …) and the ``.npz`` it names (int16
codes with scales, one verdict per ten seconds). Splits are by subject, and a subject on two sides
of a split is an error, because every figure that followed would be a fiction.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.data.record_file import read_record
from innpar.models.data.reference import Beats, beats_of, local_lag, plateaus, window_pressures
from innpar.models.errors import DataError as DataError

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Resample = Callable[[npt.NDArray[np.float64], float, float], npt.NDArray[np.float64]]

SPLITS = ("train", "val", "test")
VERDICT_SECONDS = 10
_COLUMNS = {"file", "subject", "split", "fs", "lag_s"}
_WHOLE = ("start", "first", "last", "record", "subject")
_REAL = ("time", "sbp", "dbp", "map_")
_PLATEAU = 6  # samples in a row at a record's extreme: clipped


@dataclasses.dataclass(frozen=True, slots=True)
class IndexEntry:
    """One row of the index. `rate` in Hz; `lag` is how far the PPG lags the pressure, s."""

    file: str
    subject: str
    split: str
    rate: float
    lag: float

    @property
    def source(self) -> str:
        return self.file.split("/")[0]


def read_index(folder: Path) -> list[IndexEntry]:
    """Return the index of a data folder, its splits checked.

    Raises:
        DataError: no index, a column or value is missing, or a subject is in two splits.
    """
    path = folder / "index.csv"
    if not path.is_file():
        nested = folder / "abp" / "index.csv"
        if not nested.is_file():
            raise DataError(f"{folder} holds no index.csv; name the folder that does")
        path = nested
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from None
    missing = _COLUMNS - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    entries = [_entry(row, f"{path}, record {k}") for k, row in enumerate(rows, 1)]
    check_splits(entries)
    return entries


def _entry(row: dict[str, str], where: str) -> IndexEntry:
    for name in sorted(_COLUMNS - {"lag_s"}):
        if not row[name]:
            raise DataError(f"{where} has no {name}")
    try:
        rate, lag = float(row["fs"]), float(row["lag_s"] or "nan")
    except ValueError as error:
        raise DataError(f"{where}: {error}; fs and lag_s are numbers") from None
    if not 0 < rate < math.inf:
        raise DataError(f"{where}: fs is {rate:g} Hz")
    return IndexEntry(row["file"], row["subject"], row["split"], rate, lag)


def check_splits(entries: Iterable[IndexEntry]) -> None:
    """Raise DataError where a subject is in two of train, val and test (rejects are exempt)."""
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.split not in SPLITS:
            continue
        other = seen.setdefault(entry.subject, entry.split)
        if other != entry.split:
            raise DataError(
                f"subject {entry.subject} is in {other} and in {entry.split} ({entry.file}); "
                "give each subject one split in index.csv"
            )


def of_split(entries: Sequence[IndexEntry], split: str) -> list[IndexEntry]:
    """Return the entries of one split; an empty split is a DataError."""
    chosen = [entry for entry in entries if entry.split == split]
    if not chosen:
        present = ", ".join(sorted({entry.split for entry in entries}))
        raise DataError(f"no record in split {split!r}; the index has {present}")
    return chosen


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One record at one rate, the pressure moved onto the PPG's time.

    ppg (n,) in the sensor's unit, abp (n,) in mmHg, both NaN where missing; good (n,) says where
    both can be trusted; `beats` are the reference beats, sample indices on the same axis.
    """

    entry: IndexEntry
    ppg: npt.NDArray[np.float64]
    abp: npt.NDArray[np.float64]
    good: npt.NDArray[np.bool_]
    beats: Beats


def folder_of(folder: Path) -> Path:
    """Return the folder that holds index.csv: this one, or its ``abp``."""
    return folder if (folder / "index.csv").is_file() else folder / "abp"


def load(folder: Path, entry: IndexEntry, rate: float, resample: Resample) -> TrainingRecord:
    """Read one record, bring it to `rate`, align its pressure and find its reference beats.

    Args:
        folder: The data folder.
        entry: Row of its index.
        rate: Hz wanted.
        resample: ``(values, from_rate, to_rate)``; NaN stays NaN.

    Raises:
        DataError: the file is missing or is not in the shared layout.
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
    inside = source >= 0
    aligned = np.where(inside, abp[np.maximum(source, 0)], np.nan)
    good &= inside & good[np.maximum(source, 0)] & np.isfinite(aligned)
    typical = np.nanmedian(beat_rate[verdict]) if verdict.any() else np.nan
    return TrainingRecord(entry, ppg, aligned, good, beats_of(aligned, good, float(typical), rate))


def _any_in_blocks(flags: npt.NDArray[np.bool_], block: int, count: int) -> npt.NDArray[np.bool_]:
    padded = np.zeros(block * count, dtype=bool)
    padded[: min(len(flags), len(padded))] = flags[: len(padded)]
    return np.asarray(padded.reshape(count, block).any(axis=1))


@dataclasses.dataclass(frozen=True, slots=True)
class Windows:
    """Every good window of a split: two long signals and where in them windows start.

    ppg and abp are the records end to end, float32. The rest is one value a window: `start` of its
    raw buffer (guards included), `first` and `last` start that stays inside the same good stretch,
    `record` and `subject` numbers, `time` of its middle in its record (s), and the reference
    pressures (mmHg; medians over its interior's beats).
    """

    ppg: Floats
    abp: Floats
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
        """Return some of the windows, by number or by a mask."""
        return dataclasses.replace(self, **{k: getattr(self, k)[rows] for k in _WHOLE + _REAL})


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
        buffer: Samples of a raw buffer, window and both guards.
        hop: Samples between starts.
        interior: First and end sample of the buffer in which reference beats count.
        rate: Hz.

    Raises:
        DataError: no good window in any record.
    """
    columns: list[tuple[npt.NDArray[np.float64], ...]] = []
    signals: list[tuple[Floats, Floats]] = []
    entries: list[IndexEntry] = []
    subjects: list[str] = []
    offset = 0
    for recording in recordings:
        first, last = _stretches(recording.good, buffer)
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
        who = subjects.index(recording.entry.subject)
        time = (start + buffer / 2) / rate
        filled = (np.full(len(start), len(entries)), np.full(len(start), who))
        rows = (start + offset, bounds[0] + offset, bounds[1] + offset, *filled, time)
        columns.append(tuple(column[keep] for column in (*rows, *pressures.T)))
        signals.append((recording.ppg.astype(np.float32), recording.abp.astype(np.float32)))
        entries.append(recording.entry)
        offset += len(recording.ppg)
    if not columns:
        raise DataError("no good window in any of the records")
    joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    whole: list[Any] = [column.astype(np.int64) for column in joined[: len(_WHOLE)]]
    real: list[Any] = [column.astype(np.float32) for column in joined[len(_WHOLE) :]]
    ppg, abp = (np.concatenate(parts) for parts in zip(*signals, strict=True))
    named = zip(_WHOLE + _REAL, whole + real, strict=True)
    return Windows(
        ppg=ppg, abp=abp, entries=tuple(entries), subjects=tuple(subjects), **dict(named)
    )


def _stretches(good: npt.NDArray[np.bool_], buffer: int) -> tuple[Ints, Ints]:
    edges = np.diff(np.concatenate(([0], good.astype(np.int8), [0])))
    first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = end - first >= buffer
    return first[long], end[long] - buffer
