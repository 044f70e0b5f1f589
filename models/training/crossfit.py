"""Calibration tables, fitted to errors on training subjects that the networks have never seen.

Every subject is left out of one training run; that run's network is evaluated on the subject, with
the corrections of live use. Interval half-widths are fitted to these errors and scaled to the
target coverage with every subject weighing the same, so that they hold for the next subject rather
than for the next window of a known one.

`PULL`, `FADE_SECONDS`, `BLEND` and `SMOOTH_SECONDS` were chosen on the same errors, which are flat
around them (±0.3 % for a pull of 0.7 to 1 and a fade of 20 to 45 minutes).
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

from innpar.models.calibration.tables import DIFFICULTY, PRESSURES, Blend, Tables
from innpar.models.data.recordings import Windows
from innpar.models.errors import DataError
from innpar.models.training.config import IntervalConfig, TrainConfig
from innpar.models.training.journal import replace
from innpar.models.training.left_out import WHOLE_SECONDS, LeftOutErrors, LeftOutEvaluator
from innpar.models.training.progress import progress_bar
from innpar.models.training.subject_folds import FOLDS, deal, left_out

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

PULL, FADE_SECONDS, SMOOTH_SECONDS = 0.85, 1800.0, 10.0
BLEND = Blend(mapped=(0.1, 0.3), plain=(0.0, 0.2), seconds=1800.0)
READINGS = ((1800.0, 30.0), (math.inf, 30.0))  # s between readings, s to the first
_CORRECTIONS = Tables(
    PULL,
    FADE_SECONDS,
    BLEND,
    SMOOTH_SECONDS,
    IntervalConfig().level,
    np.zeros((3, len(DIFFICULTY))),
    np.zeros(3),
)


def crossfit(
    config: TrainConfig,
    windows: Windows,
    matrix: npt.NDArray[np.float64],
    out: Path,
    *,
    folds: int = FOLDS,
) -> dict[str, dict[str, Any]]:
    """Return `calibration` and `intervals` for the manifest; write them to ``out/tables.json``.

    Args:
        config: Configuration of the model; the folds' networks are trained alike.
        windows: Training windows.
        matrix: Conditioning, (buffer, window).
        out: Folder; a fold with the same configuration and recordings continues from its
            checkpoint there.
        folds: Number of folds.

    Raises:
        ModelError: A file cannot be written, the device is not available, a training diverged, or
            the recordings are too few or too short.
    """
    torch.set_num_threads(config.run.threads)
    fold_of = deal(windows, folds)
    calibrated: list[LeftOutErrors] = []
    uncalibrated: list[LeftOutErrors] = []
    with progress_bar() as progress:
        networks = left_out(config, windows, fold_of, matrix, out, progress)
        for k, model in enumerate(networks):
            evaluator = LeftOutEvaluator(model, windows, matrix, config.run.edge, _CORRECTIONS)
            numbers = [number for number, subject in _records(windows) if fold_of[subject] == k]
            for number in progress.track(numbers, description=f"evaluating fold {k + 1}"):
                record = evaluator.record(number)
                calibrated += [evaluator.calibrated(record, *when) for when in READINGS]
                uncalibrated.append(evaluator.uncalibrated(record))
            log.info("fold %d evaluated", k + 1)
    if not any(len(part.error) for part in calibrated):
        raise DataError(
            f"no record lasts {WHOLE_SECONDS:g} s, so none shows how a cuff reading ages; "
            "add longer ones or train with --no-tables"
        )
    tables = fit(
        _joined(calibrated),
        _joined(uncalibrated),
        len(windows.subjects),
        config.intervals.level,
    )
    text = json.dumps(tables, indent=2)
    replace(out / "tables.json", text.encode())
    return tables


def _records(windows: Windows) -> list[tuple[int, int]]:
    """Return the number and the subject of each record."""
    first = np.unique(windows.record, return_index=True)
    return [(int(r), int(windows.subject[k])) for r, k in zip(*first, strict=True)]


def _joined(parts: Sequence[LeftOutErrors]) -> LeftOutErrors:
    names = [field.name for field in dataclasses.fields(LeftOutErrors)]
    return LeftOutErrors(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


def fit(
    calibrated: LeftOutErrors, uncalibrated: LeftOutErrors, subjects: int, level: float
) -> dict[str, dict[str, Any]]:
    """Fit the interval tables; return `calibration` and `intervals` for the manifest.

    Args:
        calibrated: Errors with a reading.
        uncalibrated: Errors without one.
        subjects: Number of subjects, for the record.
        level: Share of the errors to cover, subjects weighing the same.
    """
    slopes = [_half_widths(calibrated, p, level) for p in range(3)]
    weight = _subject_weights(uncalibrated.subject)
    widths = [_quantile(np.abs(uncalibrated.error[:, p]), level, weight) for p in range(3)]
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
                for name, row in zip(PRESSURES, slopes, strict=True)
            },
            "uncalibrated": {name: round(v, 2) for name, v in zip(PRESSURES, widths, strict=True)},
        },
    }


def _subject_weights(subject: npt.NDArray[np.int64]) -> Floats:
    """Return weights (n,) that sum to one for each subject."""
    return np.asarray(1.0 / np.bincount(subject)[subject])


def _half_widths(errors: LeftOutErrors, pressure: int, level: float) -> Floats:
    """Fit the mean absolute error by relative least squares; scale it to the coverage `level`."""
    size, weight = np.abs(errors.error[:, pressure]), _subject_weights(errors.subject)
    expected = np.full(len(size), size.mean())
    for _ in range(4):
        factor = np.sqrt(weight) / expected
        slopes, _ = nnls(errors.difficulty * factor[:, None], size * factor)
        expected = np.maximum(errors.difficulty @ slopes, 0.5)
    return np.asarray(slopes * _quantile(size / expected, level, weight))


def _quantile(values: Floats, share: float, weight: Floats) -> float:
    """Return the weighted quantile of `values` (n,)."""
    order = np.argsort(values)
    until = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(until, share)), len(values) - 1)])
