"""Physiological plausibility of a reconstructed beat.

The limits are those of the signal abnormality index for arterial pressure: Sun, Reisner & Mark,
Computers in Cardiology 33 (2006) 13 (jSQI).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from innpar.stream.beats.detector import DetectedBeat, OpenBeat

PRESSURE = (20.0, 300.0)
"""Limits of systolic and diastolic pressure, mmHg."""
MEAN = (30.0, 200.0)
"""Limits of the mean pressure, mmHg."""
LEAST_PULSE = 20.0
"""Lowest pulse pressure, mmHg."""
LARGEST_STEP = 20.0
"""Largest change of a pressure from one beat to the next, mmHg."""


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


@dataclass(slots=True)
class Plausibility:
    """Check consecutive beats against physiological limits."""

    _last: DetectedBeat | None = field(init=False, default=None)

    def push(self, beat: DetectedBeat) -> bool:
        """Return whether the pressures are plausible, alone and after the last beat."""
        possible = self.possible(beat)
        self._last = beat
        return possible and bool(np.isfinite(beat.abp).all()) and _within(beat.map_, MEAN)

    def possible(self, beat: DetectedBeat | OpenBeat) -> bool:
        """Return whether SBP and DBP of the beat to be pushed next are plausible."""
        possible = (
            _within(beat.sbp, PRESSURE)
            and _within(beat.dbp, PRESSURE)
            and beat.sbp - beat.dbp >= LEAST_PULSE
        )
        last = self._last
        if last is not None and last.end == beat.foot:
            possible &= abs(beat.sbp - last.sbp) <= LARGEST_STEP
            possible &= abs(beat.dbp - last.dbp) <= LARGEST_STEP
        return possible
