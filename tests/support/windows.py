"""Windows of a synthetic pulse, as the shipped model sees them."""

from __future__ import annotations

import numpy as np

from innpar.stream.windows.conditioning import conditioning_matrix

RATE, WINDOW, GUARD, BAND = 125.0, 640, 24, (0.5, 8.0)
SPAN = WINDOW + 2 * GUARD
MATRIX = conditioning_matrix(WINDOW, GUARD, RATE, BAND)
TIME = np.arange(SPAN) / RATE


def pulse(rate: float = 1.2, phase: float = 0.0) -> np.ndarray:
    """A pulse train with a steep rise, (SPAN,)."""
    at = (rate * TIME + phase) % 1.0
    return np.exp(-(((at - 0.2) / 0.08) ** 2)) + 0.5 * np.exp(-(((at - 0.45) / 0.16) ** 2))
