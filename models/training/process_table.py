"""The process of a model, learnt and judged on left-out subjects.

The subjects of each fold are predicted by a process that was learnt on the other folds' subjects,
from inputs of a network that has not seen them either.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.population import PRESSURES
from innpar.models.calibration.process import (
    INPUTS,
    PastReading,
    ProcessPrior,
    WearerProcess,
)
from innpar.models.calibration.process_level import ProcessTable
from innpar.models.training.process_fit import ARTERIAL, STEPS, fit_process
from innpar.models.training.process_rows import FIRST_SECONDS, ProcessRows

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

READING_SECONDS = 1800.0
"""Time between two readings, s."""
SHARE = 0.5
"""Weight of the process; a quarter more or less changes the error of left-out subjects little."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LeftOutLevels:
    """Errors on left-out subjects, published minus true SBP, DBP and MAP, mmHg.

    Attributes:
        subject: (n,) names.
        source: (n,) of the records.
        number: (n,) of the reading in force, from 1.
        published: (n, 3) by the process and the correction together.
        corrected: (n, 3) by the correction with the newest reading alone.
        held: (n, 3) by the newest reading.
        sd: (n, 3) of the process.
    """

    subject: npt.NDArray[np.str_]
    source: npt.NDArray[np.str_]
    number: npt.NDArray[np.int64]
    published: Floats
    corrected: Floats
    held: Floats
    sd: Floats

    def of(self, rows: npt.NDArray[np.bool_]) -> LeftOutLevels:
        """Return the rows of a mask (n,)."""
        names = [field.name for field in dataclasses.fields(self)]
        return LeftOutLevels(*(getattr(self, name)[rows] for name in names))


def process_table(
    folds: Sequence[Sequence[ProcessRows]], level: float, *, steps: int = STEPS
) -> tuple[dict[str, Any], LeftOutLevels]:
    """Return ``calibration.process`` for a manifest, and the errors on left-out subjects.

    Args:
        folds: Records of each fold, with the inputs of the network trained without it.
        level: Share of the errors that an interval covers, subjects weighing alike.
        steps: Optimiser steps of each fit.
    """
    parts: list[LeftOutLevels] = []
    for k, fold in enumerate(folds):
        others = [row for j, other in enumerate(folds) if j != k for row in other]
        prior = fit_process(others, steps=steps)
        parts += [left_out_levels(prior, row) for row in fold]
        log.info("process of fold %d of %d learnt", k + 1, len(folds))
    names = [field.name for field in dataclasses.fields(LeftOutLevels)]
    found = LeftOutLevels(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
    sizes = fit_process([row for fold in folds for row in fold], steps=steps)
    widen = widening(found, level)
    return {
        "method": "mean of the correction by the newest reading and of a Gaussian process over all",
        "subjects": len(np.unique(found.subject)),
        "share": SHARE,
        "widen": {name: round(float(v), 3) for name, v in zip(PRESSURES, widen, strict=True)},
        "inputs": list(INPUTS),
        "sizes": sizes.table(),
    }, found


def left_out_levels(prior: ProcessPrior, row: ProcessRows) -> LeftOutLevels:
    """Return the errors on one record with a reading every `READING_SECONDS`."""
    time = row.time
    due = np.arange(time[0] + FIRST_SECONDS, time[-1], READING_SECONDS)
    readings = np.unique(np.searchsorted(time, due))
    number = np.searchsorted(readings, np.arange(len(time)))  # the window of a reading is before it
    mean, sd = np.full(row.truth.shape, np.nan), np.full(row.truth.shape, np.nan)
    past = [PastReading(time[r], row.reading[r], row.inputs[r], ARTERIAL) for r in readings]
    for count in np.unique(number[number > 0]):
        here = np.flatnonzero(number == count)
        process = WearerProcess(prior, past[:count])
        mean[here], sd[here] = process.at(row.inputs[here], time[here])
    known = (number > 0) & np.isfinite(row.corrected[:, 0])
    table = ProcessTable(prior, SHARE, np.ones(3))
    corrected, truth = row.corrected[known], row.truth[known]
    return LeftOutLevels(
        np.full(len(truth), row.subject),
        np.full(len(truth), row.source),
        number[known],
        table.level(corrected, mean[known]) - truth,
        corrected - truth,
        row.reading[readings[number[known] - 1]] - truth,
        sd[known],
    )


def widening(found: LeftOutLevels, level: float) -> Floats:
    """Return the half-widths (3,) per SD that cover `level` of the errors, subjects alike."""
    _, which, counts = np.unique(found.subject, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[which]
    size = np.abs(found.published) / found.sd
    widen = np.empty(3)
    for k in range(3):
        order = np.argsort(size[:, k])
        until = np.cumsum(weight[order]) / weight.sum()
        widen[k] = size[order, k][min(int(np.searchsorted(until, level)), len(order) - 1)]
    return widen
