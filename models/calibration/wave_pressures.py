"""Beats in an arterial pressure waveform, and their pressures."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks

Floats = npt.NDArray[np.float64]


def wave_pressures(waves: Floats, heart_rate: Floats, rate: float) -> Floats:
    """Return the median SBP, DBP and MAP of the beats within each wave.

    Args:
        waves: (n, samples) pressure, any unit.
        heart_rate: (n,) per minute, to distinguish beats from dicrotic waves.
        rate: Hz.

    Returns:
        (n, 3) in the unit of `waves`; maximum, minimum and mean of a wave with fewer than two
        complete beats.
    """
    found = np.stack((waves.max(axis=1), waves.min(axis=1), waves.mean(axis=1)), axis=1)
    for k, wave in enumerate(waves):
        apart = max(int(0.5 * 60.0 / heart_rate[k] * rate), int(0.27 * rate))
        _, values = beats_within(wave, apart)
        if len(values) >= 2:
            found[k] = np.median(values, axis=0)
    return found


def beats_within(abp: Floats, apart: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the complete beats of a gap-free segment.

    Args:
        abp: (samples,) pressure, any unit.
        apart: Minimum distance of two peaks, samples.

    Returns:
        (beats, 2) sample indices of foot and peak, and (beats, 3) SBP, DBP, MAP in the unit of
        `abp`. SBP is the peak, DBP the foot before it, MAP the mean from foot to foot. No rows
        where fewer than two feet are found.
    """
    height = float(np.percentile(abp, 95) - np.percentile(abp, 5))
    peaks, _ = find_peaks(abp, distance=apart, prominence=0.4 * height)
    feet = np.array(
        [a + int(np.argmin(abp[a:b])) for a, b in itertools.pairwise(peaks)],
        dtype=np.int64,
    )
    if len(feet) < 2:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 3))
    total = np.concatenate(([0.0], np.cumsum(abp)))
    mean = (total[feet[1:]] - total[feet[:-1]]) / np.diff(feet)
    peak = peaks[1:-1]
    return np.stack((feet[:-1], peak), axis=1), np.stack((abp[peak], abp[feet[:-1]], mean), axis=1)
