"""Windows of left-out subjects for the fit of the process: inputs, truth, correction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.process import inputs
from innpar.models.calibration.tables import Tables
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.recordings import Windows
from innpar.models.network.innpar import InnPar
from innpar.models.training.left_out import LeftOutEvaluator

Floats = npt.NDArray[np.float64]

MEDIAN_SECONDS = 30.0
"""Inputs and readings are medians over this long before a window, itself included."""
FIRST_SECONDS = 30.0
"""Time to the first reading, s."""
_HEART_RATE = FEATURES.index("heart_rate")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProcessRows:
    """The windows of one record.

    Attributes:
        subject: Name of the subject.
        source: Of the record.
        time: (n,) since the start of the record, s.
        inputs: (n, K); see `innpar.models.calibration.process.inputs`.
        truth: (n, 3) true SBP, DBP, MAP, mmHg.
        reading: (n, 3) a cuff reading taken at the window, mmHg.
        corrected: (n, 3) pressures by the correction with the newest reading alone, mmHg; NaN
            until the first.
    """

    subject: str
    source: str
    time: Floats
    inputs: Floats
    truth: Floats
    reading: Floats
    corrected: Floats


def process_rows(
    model: InnPar,
    windows: Windows,
    records: list[int],
    matrix: npt.NDArray[np.float64],
    edge: int,
    tables: Tables,
    every: float,
) -> Iterator[ProcessRows]:
    """Yield the rows of records whose subjects the network has not seen.

    Args:
        model: The network.
        windows: Windows.
        records: Indices into `Windows.entries`.
        matrix: Conditioning, (buffer, window).
        edge: Samples excluded at either end of a wave.
        tables: The correction with the newest reading.
        every: Time between readings for that correction, s.
    """
    evaluator = LeftOutEvaluator(model, windows, matrix, edge, tables)
    for number in records:
        record = evaluator.record(number)
        inner = record.uncalibrated[:, edge:-edge].astype(np.float64)
        alone = wave_pressures(inner, record.features[:, _HEART_RATE], windows.rate)
        error = evaluator.calibrated(record, every, FIRST_SECONDS).error
        corrected = np.full_like(record.truth, np.nan)
        if len(error):
            corrected[-len(error) :] = error + record.truth[-len(error) :]
        entry = windows.entries[number]
        yield ProcessRows(
            entry.subject,
            entry.source,
            record.time,
            inputs(
                trailing_medians(alone, record.time), trailing_medians(record.features, record.time)
            ),
            record.truth,
            trailing_medians(record.truth, record.time),
            corrected,
        )


def trailing_medians(values: Floats, time: Floats) -> Floats:
    """Return the medians (n, K) of values over the half minute that ends at each of the times."""
    first = np.searchsorted(time, time - MEDIAN_SECONDS, side="right")
    return np.array([np.median(values[a : k + 1], axis=0) for k, a in enumerate(first)])
