"""The calibration's tables, from networks judged on training subjects they never saw.

Every subject is left out of one training run; that run's network, corrected as it would be live,
is judged on it. Half-widths are fitted to those errors and scaled so that they cover the
wanted share, every subject weighing the same, so that they hold for the next subject and not for
the next window of a known one.

`PULL`, `FADE_SECONDS`, `BLEND` and `SMOOTH_SECONDS` were chosen on the same errors; these are flat
around them (±0.3 % of the error for a pull of 0.7 to 1 and a fade of 20 to 45 minutes).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls

from innpar.models.calibration.calibrate import (
    DIFFICULTY,
    PRESSURES,
    Blend,
    CuffCalibration,
    Smoother,
    Tables,
    difficulty,
)
from innpar.models.calibration.context import FEATURES, RATE, standardised
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.recordings import DataError, Windows
from innpar.models.data.sampling import (
    CUFF_SECONDS,
    Cuffs,
    cuffs_of,
    empty_context,
    raw_buffers,
    window_features,
)
from innpar.models.network.fold import fold
from innpar.models.network.innpar import InnPar
from innpar.models.training.config import IntervalConfig, TrainConfig
from innpar.models.training.journal import replace
from innpar.models.training.progress import bar
from innpar.models.training.subject_folds import FOLDS, deal, left_out
from innpar.models.training.validate import network_waves

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

PULL, FADE_SECONDS, SMOOTH_SECONDS = 0.85, 1800.0, 10.0
BLEND = Blend(mapped=(0.1, 0.3), plain=(0.0, 0.2), seconds=1800.0)
READINGS = ((1800.0, 30.0), (math.inf, 30.0))  # between readings, and until the first, s
_PULSE_SECONDS = 30.0
_WHOLE_SECONDS = 60.0  # shorter records say nothing of the time since a reading
_HEART_RATE = FEATURES.index("heart_rate")
_FIXED = Tables(
    PULL,
    FADE_SECONDS,
    BLEND,
    SMOOTH_SECONDS,
    IntervalConfig().level,
    np.zeros((3, len(DIFFICULTY))),
    np.zeros(3),
)


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOutErrors:
    """What was published against the truth, mmHg (n, 3), by `subject` (n,).

    `hard` is the difficulty (n, len(DIFFICULTY)), empty rows where there was no reading.
    """

    error: Floats
    hard: Floats
    subject: npt.NDArray[np.int64]


def crossfit(
    config: TrainConfig,
    windows: Windows,
    matrix: npt.NDArray[np.float64],
    out: Path,
    *,
    folds: int = FOLDS,
) -> dict[str, dict[str, Any]]:
    """Return the manifest's `calibration` and `intervals`; also written to ``out/tables.json``.

    Args:
        config: Of the shipped network; the folds' networks are trained alike.
        windows: Training windows.
        matrix: Conditioning, (buffer, window).
        out: Folder; a fold of the same configuration and recordings goes on where its checkpoint
            there ends.
        folds: Subjects are dealt to so many.

    Raises:
        ModelError: A file cannot be written, there is no such device, a training diverged, or the
            recordings are too few or too short.
    """
    torch.set_num_threads(config.run.threads)
    fold_of = deal(windows, folds)
    known: list[LeftOutErrors] = []
    unknown: list[LeftOutErrors] = []
    with bar() as progress:
        networks = left_out(config, windows, fold_of, matrix, out, progress)
        for k, model in enumerate(networks):
            judge = _Judge(model, windows, matrix, config.run.edge)
            mine = [number for number, who in _records(windows) if fold_of[who] == k]
            for number in progress.track(mine, description=f"judging fold {k + 1}"):
                record = judge.record(number)
                known += [judge.calibrated(record, *when) for when in READINGS]
                unknown.append(judge.uncalibrated(record))
            log.info("fold %d judged", k + 1)
    if not any(len(one.error) for one in known):
        raise DataError(
            f"no record goes on for {_WHOLE_SECONDS:g} s, so none says how a cuff reading ages; "
            "train with --no-tables"
        )
    tables = fit(_joined(known), _joined(unknown), len(windows.subjects), config.intervals.level)
    text = json.dumps(tables, indent=2)
    replace(out / "tables.json", text.encode())
    return tables


def _records(windows: Windows) -> list[tuple[int, int]]:
    first = np.unique(windows.record, return_index=True)
    return [(int(r), int(windows.subject[k])) for r, k in zip(*first, strict=True)]


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    """A record's windows: their rows, subject, features, cuff values and true pressures (n, 3),
    their time in s, and what the network makes of them alone, (n, window) mmHg."""

    rows: npt.NDArray[np.int64]
    subject: int
    found: Floats
    cuffs: Cuffs
    truth: Floats
    time: Floats
    alone: npt.NDArray[np.float32]


class _Judge:
    """Runs a network over records as live, window by window, corrections included."""

    def __init__(
        self, model: InnPar, windows: Windows, matrix: npt.NDArray[np.float64], edge: int
    ) -> None:
        self._windows, self._edge = windows, edge
        self._matrix = matrix.astype(np.float32)
        self._forward = fold(model)

    def _waves(
        self, rows: npt.NDArray[np.int64], told: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        raw = raw_buffers(self._windows, self._windows.start[rows], self._matrix.shape[0])
        ppg = raw @ self._matrix
        scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
        return network_waves(self._forward, scaled, told, step=16)

    def record(self, record: int) -> _Record:
        """Return what is known of a record before any reading."""
        w = self._windows
        rows = np.flatnonzero(w.record == record)
        part = w.of(rows)
        found = window_features(part, self._matrix)
        truth = np.stack((part.sbp, part.dbp, part.map_), axis=1).astype(np.float64)
        time, alone = part.time.astype(np.float64), self._waves(rows, empty_context(len(rows)))
        return _Record(rows, int(part.subject[0]), found, cuffs_of(part, found), truth, time, alone)

    def calibrated(self, record: _Record, every: float, first: float) -> LeftOutErrors:
        """Judge a record with a reading every so many seconds."""
        cuffs, time = record.cuffs, record.time
        parts: list[tuple[Floats, Floats]] = []
        due = np.arange(time[0] + first, time[-1], min(every, time[-1] + 1.0))
        readings = np.unique(np.searchsorted(time, due))
        if time[-1] - time[0] < _WHOLE_SECONDS or not len(readings):
            return _empty()
        for reading, until in zip(readings, [*readings[1:], len(time) - 1], strict=True):
            before = np.flatnonzero((time <= time[reading]) & (time > time[reading] - CUFF_SECONDS))
            calibration = CuffCalibration(
                float(cuffs.sbp[reading]), float(cuffs.dbp[reading]), cuffs.features[reading]
            )
            told = self._waves(record.rows[before], calibration.context(record.found[before], 0.0))
            rate = record.found[before, _HEART_RATE]
            calibration = calibration.anchored(told, record.alone[before], rate, self._edge)
            after = np.arange(reading + 1, until + 1)
            if len(after):
                parts.append(self._follow(calibration, record, float(time[reading]), after))
        if not parts:
            return _empty()
        error, hard = (np.concatenate(one) for one in zip(*parts, strict=True))
        return LeftOutErrors(error, hard, np.full(len(error), record.subject))

    def _follow(
        self,
        calibration: CuffCalibration,
        record: _Record,
        since: float,
        after: npt.NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        found, time = record.found, record.time
        age = time[after] - since
        told = np.concatenate(
            [calibration.context(found[k : k + 1], a) for k, a in zip(after, age, strict=True)]
        )
        waves = self._waves(record.rows[after], told)
        steadier, last = Smoother(SMOOTH_SECONDS), time[after[0]]
        published = np.empty(waves.shape, dtype=np.float64)
        for k, (wave, alone) in enumerate(zip(waves, record.alone[after], strict=True)):
            blended = calibration.blended(wave, alone, float(age[k]), _FIXED)
            published[k] = steadier.push(blended, float(time[after[k]] - last))
            last = time[after[k]]
        inner = published[:, self._edge : -self._edge]
        error = wave_pressures(inner, found[after, _HEART_RATE], RATE) - record.truth[after]
        pulse = np.stack(
            [
                np.median(found[(time > time[k] - _PULSE_SECONDS) & (time <= time[k])], axis=0)
                for k in after
            ]
        )
        moved = published.mean(axis=1) - (calibration.level or 0.0)
        return error, difficulty(standardised(pulse - calibration.at_cuff), age, moved)

    def uncalibrated(self, record: _Record) -> LeftOutErrors:
        """Judge every other window of a record without a reading."""
        inner = record.alone[::2, self._edge : -self._edge].astype(np.float64)
        found = wave_pressures(inner, record.found[::2, _HEART_RATE], RATE)
        none = np.zeros((len(found), len(DIFFICULTY)))
        return LeftOutErrors(found - record.truth[::2], none, np.full(len(found), record.subject))


def _empty() -> LeftOutErrors:
    return LeftOutErrors(np.zeros((0, 3)), np.zeros((0, len(DIFFICULTY))), np.zeros(0, np.int64))


def _joined(parts: Sequence[LeftOutErrors]) -> LeftOutErrors:
    names = [field.name for field in dataclasses.fields(LeftOutErrors)]
    return LeftOutErrors(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


def fit(
    known: LeftOutErrors, unknown: LeftOutErrors, subjects: int, level: float
) -> dict[str, dict[str, Any]]:
    """Return the tables: half-widths that cover `level` of the errors, subjects weighing alike."""
    half = [_half_widths(known, p, level) for p in range(3)]
    alone = [
        _quantile(np.abs(unknown.error[:, p]), level, _even(unknown.subject)) for p in range(3)
    ]
    return {
        "calibration": {
            "method": "affine map that agrees with the reading, fading with the time since; mean "
            "with the wave made without the reading; running level and pulse height",
            "pull": PULL,
            "fade_seconds": FADE_SECONDS,
            "blend": dataclasses.asdict(BLEND),
            "smooth_seconds": SMOOTH_SECONDS,
        },
        "intervals": {
            "method": "half-width linear in difficulty, scaled on left-out subjects weighing alike",
            "level": level,
            "subjects": subjects,
            "difficulty": list(DIFFICULTY),
            "calibrated": {
                name: [round(float(v), 3) for v in row]
                for name, row in zip(PRESSURES, half, strict=True)
            },
            "uncalibrated": {name: round(v, 2) for name, v in zip(PRESSURES, alone, strict=True)},
        },
    }


def _even(subject: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(1.0 / np.bincount(subject)[subject])


def _half_widths(known: LeftOutErrors, pressure: int, level: float) -> Floats:
    """Fit the mean absolute error by least squares relative to itself, then scale to cover."""
    size, weight = np.abs(known.error[:, pressure]), _even(known.subject)
    expected = np.full(len(size), size.mean())
    for _ in range(4):
        factor = np.sqrt(weight) / expected
        slopes, _ = nnls(known.hard * factor[:, None], size * factor)
        expected = np.maximum(known.hard @ slopes, 0.5)
    return np.asarray(slopes * _quantile(size / expected, level, weight))


def _quantile(values: Floats, share: float, weight: Floats) -> float:
    order = np.argsort(values)
    until = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(until, share)), len(values) - 1)])
