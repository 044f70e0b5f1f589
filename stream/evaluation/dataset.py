"""Recordings made into windows by the very stages that streaming uses.

`models` knows nothing of filters; it is handed the conditioning matrix and the resampler here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.models.data.recordings import (
    IndexEntry,
    TrainingRecord,
    Windows,
    load,
    of_split,
    read_index,
    windows_of,
)

log: logging.Logger = logging.getLogger(__name__)

RATE = 125.0  # Hz
WINDOW = 640  # samples the network sees
GUARD = 24  # samples before and after that only the filter sees
BAND = (0.5, 8.0)  # Hz
EDGE = 60  # samples at either end of a window that are never published


def resample_uniform(
    values: npt.NDArray[np.float64], rate: float, wanted: float
) -> npt.NDArray[np.float64]:
    """Return evenly sampled values at another rate, by the cubic Hermite that live streams use.

    Args:
        values: (n,) any unit; NaN spreads to the three samples whose tangents it enters.
        rate: Hz of `values`.
        wanted: Hz wanted.
    """
    count = int((len(values) - 1) * wanted / rate) + 1
    at = np.arange(count) * (rate / wanted)
    left = np.minimum(at.astype(np.int64), len(values) - 2)
    t = at - left
    tangent = np.gradient(values)
    y0, y1, m0, m1 = values[left], values[left + 1], tangent[left], tangent[left + 1]
    squared, cubed = t * t, t * t * t
    rise = 3 * squared - 2 * cubed
    return np.asarray(
        y0 * (1 - rise) + y1 * rise + m0 * (cubed - 2 * squared + t) + m1 * (cubed - squared)
    )


def recordings(folder: Path, entries: list[IndexEntry]) -> Iterator[TrainingRecord]:
    """Yield the records of `entries`, aligned and at the model's rate."""
    for entry in entries:
        yield load(folder, entry, RATE, resample_uniform)


def split_windows(folder: Path, split: str, hop: int = WINDOW) -> Windows:
    """Return every good window of a split. Raises DataError where the data cannot be used."""
    entries = of_split(read_index(folder), split)
    log.info("reading %d records of split %s", len(entries), split)
    interior = (GUARD + EDGE, GUARD + WINDOW - EDGE)
    return windows_of(recordings(folder, entries), WINDOW + 2 * GUARD, hop, interior, RATE)
