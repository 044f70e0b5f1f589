"""The third trivial baseline: pressures from the cuff readings alone, without any light.

A pressure returns from the newest reading towards the wearer's own mean, as far and as fast as
those of the training subjects do (kriging). A model that is no better uses no light.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.process import PastReading, ProcessPrior, WearerProcess
from innpar.stream.evaluation.record_device import ReferenceReading

Floats = npt.NDArray[np.float64]

_NONE = np.zeros((3, 0))
PRIOR = ProcessPrior(
    base=np.array([116.4, 60.6, 80.9]),
    line=_NONE,
    offset=np.array([9.47, 6.56, 7.44]),
    slopes=_NONE,
    similarity=np.array([4.95, 3.87, 5.27]),
    alike=_NONE,
    fade=np.array([2.11, 2.62, 2.61]),
    drift=np.array([[13.3, 9.60], [6.08, 5.16], [8.70, 7.03]]),
    drift_hours=np.array([[0.357, 0.121], [0.433, 0.085], [0.423, 0.094]]),
    rest=np.array([3.24, 2.28, 2.55]),
    noise=1.5,
)
"""Learnt without inputs, by later pressures, on the training subjects of the shipped model."""


def kriged(readings: Sequence[ReferenceReading], seconds: Floats) -> Floats:
    """Return SBP, DBP and MAP (n, 3) from the readings before each of the times (n,), mmHg.

    Args:
        readings: In order of time.
        seconds: On their axis, s; NaN is returned up to the first reading.
    """
    found = np.full((len(seconds), 3), np.nan)
    past = [
        PastReading(one.seconds, np.array([one.sbp, one.dbp, one.map_]), np.zeros(0))
        for one in readings
    ]
    last = np.searchsorted([one.seconds for one in readings], seconds)
    for count in np.unique(last[last > 0]):
        here = np.flatnonzero(last == count)
        process = WearerProcess(PRIOR, past[:count])
        found[here] = process.at(np.zeros((len(here), 0)), seconds[here])[0]
    return found
