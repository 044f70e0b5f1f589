"""Windows of pulse waves for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def windows(batch: int, length: int = 640, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return (batch, length) windows of unit SD: pulses of random rates, and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / 125.0
    rates = rng.uniform(0.8, 2.0, (batch, 1))
    phase = 2 * np.pi * (rates * time + rng.uniform(size=(batch, 1)))
    wave = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.1 * rng.standard_normal((batch, length))
    wave = (wave - wave.mean(axis=1, keepdims=True)) / wave.std(axis=1, keepdims=True)
    return wave.astype(np.float32)
