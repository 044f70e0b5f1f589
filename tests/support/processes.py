"""A process with sizes like those learnt, and readings."""

from __future__ import annotations

import numpy as np

from innpar.models.calibration.process import INPUTS, ProcessPrior

K = len(INPUTS)
PRIOR = ProcessPrior(
    base=np.array([118.0, 60.0, 80.0]),
    line=np.tile(np.linspace(-2.0, 2.0, K), (3, 1)),
    offset=np.array([6.2, 5.1, 4.7]),
    slopes=np.full((3, K), 1.5),
    similarity=np.array([10.7, 5.5, 7.2]),
    alike=np.full((3, K), 0.3),
    fade=np.full(3, 3.0),
    drift=np.array([[3.7, 5.0], [2.6, 2.3], [2.1, 3.1]]),
    drift_hours=np.tile([1.0, 0.25], (3, 1)),
    rest=np.array([4.0, 2.0, 3.0]),
    noise=5.0,
)
