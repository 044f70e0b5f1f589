"""Columns of samples: light, and others that inputs hold beside it or in its place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
RATE = 100.0
T = np.arange(2000) / RATE


def pulse(rate: float = 72.0, *, upstroke: float = 0.2) -> Samples:
    """Return pulses with a linear upstroke, a slow fall and a second wave."""
    phase = (T * rate / 60) % 1
    rise = np.where(phase < upstroke, phase / upstroke, (1 - phase) / (1 - upstroke))
    wave: Samples = rise + 0.2 * np.exp(-(((phase - 0.55) / 0.06) ** 2))
    return wave


NO_LIGHT: dict[str, Samples] = {
    "packet counter of 8 bits": (np.arange(2000) % 256).astype(float),
    "packet counter, ten samples a packet": (np.arange(2000) // 10 % 256).astype(float),
    "counter with losses": np.cumsum(np.where(np.arange(2000) % 37, 1.0, 2.0)) % 256,
    "sawtooth": 0.37 * (np.arange(2000) % 83),
    "falling sawtooth": -0.37 * (np.arange(2000) % 83),
    "time": T + 1.7e9,
    "constant": np.full(2000, 512.0),
    "flag": (T % 3 > 1).astype(float),
    "heart rate once a second": 70 + np.repeat(np.arange(20) * 7 % 11, 100).astype(float),
    "empty": np.full(2000, np.nan),
    "sparse": np.where(np.arange(2000) % 10, np.nan, 97.0 + np.arange(2000) % 7),
}
