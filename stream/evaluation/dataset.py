"""Training windows, made by the same stages as streaming.

`innpar.models` has no filter and no resampler of its own; they are passed to it here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.models.data.index import IndexEntry, of_split, read_index
from innpar.models.data.recordings import TrainingRecord, Windows, load, windows_of
from innpar.models.manifest import BAND, DROP, GUARD, RATE, WINDOW
from innpar.stream.windows.conditioning import conditioning_matrix

log: logging.Logger = logging.getLogger(__name__)


def resample_uniform(
    values: npt.NDArray[np.float64], rate: float, wanted: float
) -> npt.NDArray[np.float64]:
    """Resample evenly sampled values by the cubic Hermite interpolation of live streams.

    Args:
        values: (n,) any unit; NaN spreads to the three samples whose tangents it enters.
        rate: Sampling rate of `values`, Hz.
        wanted: Target sampling rate, Hz.
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


def recordings(folder: Path, entries: list[IndexEntry], rate: float) -> Iterator[TrainingRecord]:
    """Yield the records of `entries`, aligned and at `rate` (Hz)."""
    for entry in entries:
        yield load(folder, entry, rate, resample_uniform)


def split_windows(folder: Path, split: str, hop: int = WINDOW) -> Windows:
    """Return every good window of a split, laid out as the networks of this package need it.

    Args:
        folder: The data folder.
        split: train, val, test or rejects.
        hop: Distance between the starts of two windows, samples.

    Raises:
        DataError: The data cannot be used.
    """
    entries = of_split(read_index(folder), split)
    log.info("reading %d records of split %s", len(entries), split)
    return training_windows(folder, entries, hop)


def training_windows(folder: Path, entries: list[IndexEntry], hop: int = WINDOW) -> Windows:
    """Return every good window of some records of a data folder; see `split_windows`."""
    interior = (GUARD + DROP, GUARD + WINDOW - DROP)
    return windows_of(recordings(folder, entries, RATE), WINDOW + 2 * GUARD, hop, interior, RATE)


def training_matrix() -> npt.NDArray[np.float64]:
    """Return the conditioning of those windows, (buffer, window)."""
    return conditioning_matrix(WINDOW, GUARD, RATE, BAND)
