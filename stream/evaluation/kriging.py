"""The third trivial baseline: pressures from the cuff readings alone, without any light.

A pressure returns from the newest reading towards the wearer's own mean, as far and as fast as
those of the training subjects do (kriging; Rasmussen and Williams, Gaussian Processes for Machine
Learning, MIT Press 2006, chapter 2). A model that is no better uses no light.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.stream.evaluation.record_device import ReferenceReading

Floats = npt.NDArray[np.float64]

# Learnt by later pressures on the training subjects of the shipped model; SBP, DBP and MAP.
MEAN = np.array([116.4, 60.6, 80.9])
"""Of the population, mmHg."""
_OFFSET = np.array([9.47, 6.56, 7.44])  # SD of a wearer's own mean, mmHg
_DRIFT = np.array([[4.95, 13.3, 9.60], [3.87, 6.08, 5.16], [5.27, 8.70, 7.03]])  # SDs, mmHg
_HOURS = np.array([[2.11, 0.357, 0.121], [2.62, 0.433, 0.085], [2.61, 0.423, 0.094]])
_NOISE = 1.5  # SD of a reading's error, mmHg


def kriged(readings: Sequence[ReferenceReading], seconds: Floats) -> Floats:
    """Return SBP, DBP and MAP (n, 3) from the readings before each of the times (n,), mmHg.

    Args:
        readings: In order of time.
        seconds: On their axis, s; NaN is returned up to the first reading.
    """
    found = np.full((len(seconds), 3), np.nan)
    times = np.array([one.seconds for one in readings])
    values = np.array([(one.sbp, one.dbp, one.map_) for one in readings]).reshape(-1, 3)
    last = np.searchsorted(times, seconds)
    for count in np.unique(last[last > 0]):
        here, past = last == count, times[:count]
        between = _covariance(past, past) + _NOISE**2 * np.eye(count)
        surprise = (values[:count] - MEAN).T[..., None]
        weights = np.linalg.solve(between, surprise)
        found[here] = MEAN + (_covariance(seconds[here], past) @ weights)[..., 0].T
    return found


def _covariance(some: Floats, others: Floats) -> Floats:
    """Return the covariance (3, n, m) of the pressures at two sets of times, s; mmHg²."""
    hours = np.abs(some[:, None] - others) / 3600.0
    fading = np.exp(-hours[..., None] / _HOURS[:, None, None])
    return np.asarray(
        _OFFSET[:, None, None] ** 2 + (fading @ (_DRIFT**2)[:, None, :, None])[..., 0]
    )
