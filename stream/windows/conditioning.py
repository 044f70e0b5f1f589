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
    from scipy.linalg import solveh_banded

    weight = (2.0 * np.sin(np.pi * cutoff / rate)) ** -4.0
    second_difference = np.diff(np.eye(samples), n=2, axis=0)
    penalty = weight * (second_difference.T @ second_difference)
    upper = np.zeros((3, samples))
    for k in range(3):
        upper[2 - k, k:] = np.diagonal(penalty, k)
    upper[2] += 1.0
    smoother: npt.NDArray[np.float64] = solveh_banded(upper, np.eye(samples))
    return smoother


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
