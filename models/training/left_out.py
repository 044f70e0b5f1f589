"""Errors of a cross-fit network on the records of left-out subjects, corrected as live."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.calibrate import CuffCalibration, Smoother, difficulty
from innpar.models.calibration.context import FEATURES, standardised
from innpar.models.calibration.tables import DIFFICULTY, Tables
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.recordings import Windows
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
from innpar.models.training.validate import network_waves

Floats = npt.NDArray[np.float64]

WHOLE_SECONDS = 60.0
"""Shorter records do not show how a reading ages."""
_PULSE_SECONDS = 30.0
_HEART_RATE = FEATURES.index("heart_rate")


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOutErrors:
    """Errors of published pressures on left-out subjects.

    Attributes:
        error: (n, 3) published minus reference SBP, DBP, MAP, mmHg.
        difficulty: (n, len(DIFFICULTY)) terms of the interval; zeros without a reading.
        subject: (n,) index into `Windows.subjects`.
    """

    error: Floats
    difficulty: Floats
    subject: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class RecordWindows:
    """The windows of one record.

    Attributes:
        rows: (n,) indices of the windows.
        subject: Index into `Windows.subjects`.
        features: (n, len(FEATURES)).
        cuffs: Simulated cuff readings, one at each window.
        truth: (n, 3) reference SBP, DBP, MAP, mmHg.
        time: (n,) middle of the window since the start of the record, s.
        uncalibrated: (n, window) mmHg, reconstructions without context.
    """

    rows: npt.NDArray[np.int64]
    subject: int
    features: Floats
    cuffs: Cuffs
    truth: Floats
    time: Floats
    uncalibrated: npt.NDArray[np.float32]


class LeftOutEvaluator:
    """Evaluation of a network on records as in live use: window by window, corrections included.

    Args:
        model: A network that was trained without the records' subjects.
        windows: Windows of all subjects.
        matrix: Conditioning, (buffer, window).
        edge: Samples excluded at either end of a wave.
        tables: Corrections to apply; its interval tables are not used.
    """

    def __init__(
        self,
        model: InnPar,
        windows: Windows,
        matrix: npt.NDArray[np.float64],
        edge: int,
        tables: Tables,
    ) -> None:
        self._windows, self._edge, self._tables = windows, edge, tables
        self._matrix = matrix.astype(np.float32)
        self._forward = fold(model)

    def _waves(
        self, rows: npt.NDArray[np.int64], contexts: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return the reconstructions (n, window) of windows under their contexts, mmHg."""
        raw = raw_buffers(self._windows, self._windows.start[rows], self._matrix.shape[0])
        ppg = raw @ self._matrix
        scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
        return network_waves(self._forward, scaled, contexts, step=16)

    def record(self, record: int) -> RecordWindows:
        """Return the windows of a record, by its index into `Windows.entries`."""
        w = self._windows
        rows = np.flatnonzero(w.record == record)
        part = w.of(rows)
        found = window_features(part, self._matrix)
        truth = np.stack((part.sbp, part.dbp, part.map_), axis=1).astype(np.float64)
        return RecordWindows(
            rows,
            int(part.subject[0]),
            found,
            cuffs_of(part, found),
            truth,
            part.time.astype(np.float64),
            self._waves(rows, empty_context(len(rows))),
        )

    def calibrated(self, record: RecordWindows, every: float, first: float) -> LeftOutErrors:
        """Evaluate a record with a reading after `first` s, then one every `every` s."""
        cuffs, time = record.cuffs, record.time
        parts: list[tuple[Floats, Floats]] = []
        due = np.arange(time[0] + first, time[-1], min(every, time[-1] + 1.0))
        readings = np.unique(np.searchsorted(time, due))
        if time[-1] - time[0] < WHOLE_SECONDS or not len(readings):
            return _empty()
        for reading, until in zip(readings, [*readings[1:], len(time) - 1], strict=True):
            before = np.flatnonzero((time <= time[reading]) & (time > time[reading] - CUFF_SECONDS))
            calibration = CuffCalibration(
                float(cuffs.sbp[reading]), float(cuffs.dbp[reading]), cuffs.features[reading]
            )
            contexts = calibration.context(record.features[before], 0.0)
            calibration = calibration.anchored(
                self._waves(record.rows[before], contexts),
                record.uncalibrated[before],
                record.features[before, _HEART_RATE],
                drop=self._edge,
                rate=self._windows.rate,
            )
            after = np.arange(reading + 1, until + 1)
            if len(after):
                parts.append(self._published(calibration, record, float(time[reading]), after))
        if not parts:
            return _empty()
        error, terms = (np.concatenate(each) for each in zip(*parts, strict=True))
        return LeftOutErrors(error, terms, np.full(len(error), record.subject))

    def _published(
        self,
        calibration: CuffCalibration,
        record: RecordWindows,
        since: float,
        after: npt.NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        """Return errors (n, 3) and difficulty of the windows `after` a reading at `since`, s."""
        found, time = record.features, record.time
        age = time[after] - since
        contexts = np.concatenate(
            [calibration.context(found[k : k + 1], a) for k, a in zip(after, age, strict=True)]
        )
        waves = self._waves(record.rows[after], contexts)
        smoother, last = Smoother(self._tables.smooth_seconds), time[after[0]]
        published = np.empty(waves.shape, dtype=np.float64)
        for k, (wave, plain) in enumerate(zip(waves, record.uncalibrated[after], strict=True)):
            blended = calibration.blended(wave, plain, float(age[k]), self._tables)
            published[k] = smoother.push(blended, float(time[after[k]] - last))
            last = time[after[k]]
        inner = published[:, self._edge : -self._edge]
        error = (
            wave_pressures(inner, found[after, _HEART_RATE], self._windows.rate)
            - record.truth[after]
        )
        pulse = np.stack(
            [
                np.median(found[(time > time[k] - _PULSE_SECONDS) & (time <= time[k])], axis=0)
                for k in after
            ]
        )
        moved = published.mean(axis=1) - (calibration.level or 0.0)
        return error, difficulty(standardised(pulse - calibration.at_cuff), age, moved)

    def uncalibrated(self, record: RecordWindows) -> LeftOutErrors:
        """Evaluate every other window of a record without a reading."""
        inner = record.uncalibrated[::2, self._edge : -self._edge].astype(np.float64)
        found = wave_pressures(inner, record.features[::2, _HEART_RATE], self._windows.rate)
        none = np.zeros((len(found), len(DIFFICULTY)))
        return LeftOutErrors(found - record.truth[::2], none, np.full(len(found), record.subject))


def _empty() -> LeftOutErrors:
    return LeftOutErrors(np.zeros((0, 3)), np.zeros((0, len(DIFFICULTY))), np.zeros(0, np.int64))
