"""Limits that a beat's pressures must keep to be published, for the page's inspector."""

from __future__ import annotations

from innpar.stream.beats.plausibility import LARGEST_STEP, LEAST_PULSE, MEAN, PRESSURE
from innpar.stream.beats.rhythm import RATE
from innpar.stream.windows.quality import ACCEPT

GATES: dict[str, tuple[float | None, float | None]] = {
    "quality": (ACCEPT, None),
    "hr": RATE,
    "sbp": PRESSURE,
    "dbp": PRESSURE,
    "map": MEAN,
    "pp": (LEAST_PULSE, None),
    "step": (None, LARGEST_STEP),
}
"""Value of a beat → its lowest and highest; `step`: change of SBP or DBP from the beat before."""
