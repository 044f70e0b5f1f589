"""Level of the published pressure without a cuff reading: shrunk towards the population's mean.

Without a reading the network's level is no evidence in people unlike those it was trained on: in
awake people with reflective sensors it falls where the true pressure rises. So only a share of its
distance from the population's mean is kept; pulse shape and rhythm stay the network's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.wave_pressures import beat_distance, peaks_and_feet

Floats = npt.NDArray[np.float64]
Waves = npt.NDArray[np.float32]

PRESSURES = ("sbp", "dbp", "map")
LEAST_PULSE = 20.0
"""mmHg; a flatter wave is no pulse, and is left to the check of plausibility unchanged."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PopulationLevel:
    """Shrinkage of the pressures without a reading, ``calibration.uncalibrated`` of a manifest.

    Attributes:
        centre: (3,) SBP, DBP and MAP of the population, mmHg.
        keep: Share of the network's distance from the centre that is published, 0 to 1.
    """

    centre: Floats
    keep: float

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> PopulationLevel:
        """Read the table; raises KeyError, TypeError or ValueError if it is unusable."""
        centre = np.array([table["centre"][name] for name in PRESSURES], dtype=np.float64)
        keep = float(table["keep"])
        if not (0.0 <= keep <= 1.0 and 0.0 < centre[1] < centre[2] < centre[0] < np.inf):
            raise ValueError("an impossible level without a reading")
        return cls(centre, keep)

    def pressures(self, alone: Floats) -> Floats:
        """Shrink the network's SBP, DBP and MAP (n, 3), or SBP and DBP (n, 2), mmHg."""
        centre = self.centre[: alone.shape[1]]
        return np.asarray(centre + self.keep * (alone - centre))

    def wave(self, wave: Waves, heart_rate: float, rate: float) -> Waves:
        """Shrink the SBP and the DBP of every beat of a wave (window,), mmHg.

        The lines through the peaks and through the feet are shrunk, and the wave is mapped from the
        old lines to the new: its beats keep their shape, and lose the differences in level within
        a window, which follow the true ones hardly at all.

        Args:
            wave: Without a cuff reading.
            heart_rate: Per minute.
            rate: Sampling rate, Hz.
        """
        exact = wave.astype(np.float64)
        high, low = _envelope(exact, beat_distance(heart_rate, rate))
        height = float(np.median(high - low))
        if height < LEAST_PULSE:
            return wave
        new = self.pressures(np.stack((high, low), axis=1))
        share = (exact - low) / np.maximum(high - low, 0.5 * height)
        return np.asarray(new[:, 1] + (new[:, 0] - new[:, 1]) * share, dtype=np.float32)


def _envelope(wave: Floats, apart: int) -> tuple[Floats, Floats]:
    """Return the lines through the peaks and through the feet, (window,) each."""
    peaks, feet = peaks_and_feet(wave, apart)
    if len(feet) < 2:
        return np.full(len(wave), wave.max()), np.full(len(wave), wave.min())
    at = np.arange(len(wave))
    return np.interp(at, peaks, wave[peaks]), np.interp(at, feet, wave[feet])
