"""Whether a cuff reading is believable: the one place that decides it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from innpar.devices import NS
from innpar.stream.results import Beat

NEAR = 30.0
"""mmHg from the estimate within which a reading is believable, however narrow the interval."""
SECONDS = 30
"""Age of the beats that a reading is compared with, at most; the newest lag some seconds behind."""
MOST, ENOUGH = 10, 3
"""Beats compared, and needed."""


def doubt(sbp: float, dbp: float, time: int, beats: Sequence[Beat]) -> str | None:
    """Return why a reading needs a confirmation; None if it is believable.

    It is believable within the interval in force, and within `NEAR` of the estimates. Without
    estimates there is nothing to compare it with.

    Args:
        sbp: mmHg.
        dbp: mmHg.
        time: Of the reading, ns since the Unix epoch, on the time axis of the beats.
        beats: Newest beats, in order.
    """
    near = [b for b in beats if b.valid and time - SECONDS * NS < b.peak <= time][-MOST:]
    if len(near) < ENOUGH:
        return None
    ranges = {name: _believable(name, near) for name in ("sbp", "dbp")}
    given = {"sbp": sbp, "dbp": dbp}
    if all(low <= given[name] <= high for name, (low, high) in ranges.items()):
        return None
    shown = "/".join(f"{low:.0f}-{high:.0f}" for low, high in ranges.values())
    return f"{sbp:g}/{dbp:g} is far from the estimates, which make {shown} mmHg believable"


def _believable(name: str, beats: Sequence[Beat]) -> tuple[float, float]:
    """Return the lowest and the highest believable pressure, mmHg."""
    estimate = median(getattr(beat, name) for beat in beats)
    low, high = estimate - NEAR, estimate + NEAR
    known = [getattr(beat.interval, name) for beat in beats if beat.interval is not None]
    if known:
        low = min(low, median(limits[0] for limits in known))
        high = max(high, median(limits[1] for limits in known))
    return low, high
