"""The level to publish: a mean of the correction by the newest reading and of the process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.population import PRESSURES
from innpar.models.calibration.process import INPUTS, ProcessPrior

Floats = npt.NDArray[np.float64]

SCALES = (0.5, 2.0)
"""Range of the factor on the height of the pulse."""
_LEAST_PULSE = 10.0  # mmHg; a flatter wave does not determine the factor


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProcessTable:
    """The process of a model, ``calibration.process`` of a manifest.

    Attributes:
        prior: Sizes of its terms.
        share: Weight of the process in the published level, 0 to 1; the correction by the newest
            reading alone has the rest.
        widen: (3,) half-widths of the intervals per SD of the process.
    """

    prior: ProcessPrior
    share: float
    widen: Floats

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> ProcessTable:
        """Read the table; raises KeyError, TypeError or ValueError if it is unusable."""
        if tuple(table["inputs"]) != INPUTS:
            raise ValueError("a process of other inputs")
        prior, share = ProcessPrior.of(table["sizes"]), float(table["share"])
        widen = np.array([table["widen"][name] for name in PRESSURES], dtype=np.float64)
        if prior.line.shape != (3, len(INPUTS)) or not 0.0 <= share <= 1.0:
            raise ValueError("an impossible process")
        if not ((widen > 0) & np.isfinite(widen)).all():
            raise ValueError("intervals without a width")
        return cls(prior, share, widen)

    def level(self, found: Floats, process: Floats) -> Floats:
        """Return the pressures to publish, (n, 3) mmHg.

        SBP and DBP are the mean of both; MAP keeps its place between them, since the wave is mapped
        to them as a whole.

        Args:
            found: (n, 3) by the correction with the newest reading.
            process: (n, 3) by the process.
        """
        both = found[:, :2] + self.share * (process[:, :2] - found[:, :2])
        scale = _scale(both, found)
        map_ = both[:, 1] + scale * (found[:, 2] - found[:, 1])
        return np.stack((both[:, 1] + scale * (found[:, 0] - found[:, 1]), both[:, 1], map_), 1)


def _scale(wanted: Floats, found: Floats) -> Floats:
    """Return the factor (n,) on the height of the pulse, limited to `SCALES`."""
    height = np.maximum(found[:, 0] - found[:, 1], _LEAST_PULSE)
    return np.clip((wanted[:, 0] - wanted[:, 1]) / height, *SCALES)
