"""Zero-phase conditioning of a window as one fixed matrix.

A causal filter in front of the network delays each harmonic differently and so changes the pulse's
morphology. The network looks ahead anyway, so the filter may too: inside a window with a guard on
either side, a Whittaker smoother (1) equals a second-order Butterworth filter applied forward and
backward (zero phase, gain 1 / (1 + (f/fc)^4)) and needs no padding at the ends. One minus a
smoother removes baseline wander (2): constants and straight lines vanish exactly, however large.
Both are linear, so conditioning a window is one product with a fixed matrix.

1. Eilers, A perfect smoother, Anal. Chem. 75 (2003) 3631, doi 10.1021/ac034173t
2. Tarvainen et al., An advanced detrending method, IEEE Trans. Biomed. Eng. 49 (2002) 172,
   doi 10.1109/10.979357
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt


def _smoother(samples: int, cutoff: float, rate: float) -> npt.NDArray[np.float64]:
    """Return the inverse of the five-diagonal 1 + weight · DᵀD, with D the second difference."""
    weight = (2.0 * np.sin(np.pi * cutoff / rate)) ** -4.0
    second_difference = np.diff(np.eye(samples), n=2, axis=0)
    penalty = weight * (second_difference.T @ second_difference)
    diagonals = [np.diagonal(penalty, k).copy() for k in range(3)]
    diagonals[0] += 1.0
    return _banded_inverse(*diagonals)


def _banded_inverse(
    middle: npt.NDArray[np.float64], first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Invert a symmetric, positive, five-diagonal matrix by the Cholesky factors UᵀU.

    A banded solution keeps 15 digits here, a general one 11; scipy has one but is slow to import.

    Args:
        middle: (n,) its diagonal; overwritten, as the others are, by that of U.
        first: (n - 1,) the next diagonal.
        second: (n - 2,) the one after.
    """
    count = len(middle)
    for j in range(count):
        middle[j] = np.sqrt(middle[j])
        if j + 1 < count:
            first[j] /= middle[j]
            middle[j + 1] -= first[j] * first[j]
        if j + 2 < count:
            second[j] /= middle[j]
            first[j + 1] -= first[j] * second[j]
            middle[j + 2] -= second[j] * second[j]
    rows = np.eye(count)
    for j in range(count):  # Uᵀ, downwards
        if j >= 1:
            rows[j] -= first[j - 1] * rows[j - 1]
        if j >= 2:
            rows[j] -= second[j - 2] * rows[j - 2]
        rows[j] /= middle[j]
    for j in reversed(range(count)):  # U, upwards
        if j + 1 < count:
            rows[j] -= first[j] * rows[j + 1]
        if j + 2 < count:
            rows[j] -= second[j] * rows[j + 2]
        rows[j] /= middle[j]
    return rows


@functools.cache
def conditioning_matrix(
    window: int, guard: int, rate: float, band: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return the band-pass filter of `condition`.

    Args:
        window: Samples kept.
        guard: Samples before and after the window that only the filter sees.
        rate: Sampling rate, Hz.
        band: Frequencies at which the gain is one half, Hz.

    Returns:
        (window + 2 guard, window) float64, read-only; ``raw @ matrix`` is the conditioned window.
    """
    low, high = band
    if not 0 < low < high < rate / 2:
        raise ValueError(f"a band lies between 0 and half of {rate:g} Hz, not {low:g} to {high:g}")
    samples = window + 2 * guard
    baseline_free = np.eye(samples) - _smoother(samples, low, rate)
    matrix = (_smoother(samples, high, rate) @ baseline_free).T[:, guard : guard + window]
    matrix = np.ascontiguousarray(matrix)
    matrix.flags.writeable = False
    return matrix


def condition(
    raw: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Condition one window.

    Windows are conditioned one at a time: matrix-vector and matrix-matrix products round
    differently, and the result must not depend on how many windows happen to be ready.

    Args:
        raw: (window + 2 guard,) samples at the model's rate, any unit, pulse upward.
        matrix: From `conditioning_matrix`.

    Returns:
        (window,) float32 in the unit of `raw`.
    """
    conditioned: npt.NDArray[np.float32] = ((raw - raw.mean()) @ matrix).astype(np.float32)
    return conditioned
