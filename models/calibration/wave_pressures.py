"""Beats in an arterial pressure waveform, and their pressures."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

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
        apart = beat_distance(float(heart_rate[k]), rate)
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
    peaks, feet = peaks_and_feet(abp, apart)
    if len(feet) < 2:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 3))
    total = np.concatenate(([0.0], np.cumsum(abp)))
    mean = (total[feet[1:]] - total[feet[:-1]]) / np.diff(feet)
    peak = peaks[1:-1]
    return np.stack((feet[:-1], peak), axis=1), np.stack((abp[peak], abp[feet[:-1]], mean), axis=1)


def peaks_and_feet(abp: Floats, apart: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the sample indices of the systolic peaks, and of the feet between them.

    Args:
        abp: (samples,) pressure, any unit.
        apart: Minimum distance of two peaks, samples.
    """
    height = float(np.percentile(abp, 95) - np.percentile(abp, 5))
    peaks = _peaks(abp, apart, 0.4 * height)
    feet = [a + int(np.argmin(abp[a:b])) for a, b in itertools.pairwise(peaks)]
    return peaks, np.array(feet, dtype=np.int64)


def beat_distance(heart_rate: float, rate: float) -> int:
    """Return the minimum distance of two peaks, samples, at a heart rate per minute."""
    return max(int(0.5 * 60.0 / heart_rate * rate), int(0.27 * rate))


def _peaks(wave: Floats, apart: int, prominence: float) -> npt.NDArray[np.int64]:
    """Find local maxima at least `apart` samples from a higher one, and of enough prominence.

    A plateau counts once, in its middle; of close peaks the highest stays, and of equal ones the
    later. Prominence is the height above the higher of the lowest values on the two sides, each up
    to the next higher sample. The same as `scipy.signal.find_peaks`, which is slow to import.
    """
    tops = _local_maxima(wave)
    kept = np.ones(len(tops), dtype=bool)
    first = np.searchsorted(tops, tops - apart, side="right")
    end = np.searchsorted(tops, tops + apart, side="left")
    for i in np.argsort(wave[tops])[::-1]:
        if kept[i]:
            kept[first[i] : end[i]] = False
            kept[i] = True
    tops = tops[kept]
    high = [_falls(wave[top::-1], prominence) and _falls(wave[top:], prominence) for top in tops]
    found: npt.NDArray[np.int64] = tops[np.array(high, dtype=bool)]
    return found


def _local_maxima(wave: Floats) -> npt.NDArray[np.int64]:
    """Return the middles of the stretches that are higher than the samples on both sides."""
    starts = np.flatnonzero(np.concatenate(([True], wave[1:] != wave[:-1])))
    ends = np.append(starts[1:], len(wave)) - 1
    level = wave[starts]
    top = np.zeros(len(level), dtype=bool)
    top[1:-1] = (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
    middle: npt.NDArray[np.int64] = (starts[top] + ends[top]) // 2
    return middle


def _falls(side: Floats, depth: float) -> bool:
    """Return whether a side falls by `depth` below its first sample before it rises above it."""
    size = 64
    while True:
        part = side[:size]
        if (higher := part > side[0]).any():
            part = part[: int(np.argmax(higher))]
            size = len(side)
        if side[0] - part.min() >= depth or size >= len(side):
            return bool(side[0] - part.min() >= depth)
        size *= 2
