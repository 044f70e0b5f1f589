"""Detect arm movement by acceleration; PPG windows recorded during movement are rejected.

The measure is the standard deviation of the acceleration within a second, all axes together. On an
Empatica E4 worn through an hour of daily life (3570 windows of 5.1 s), the PPG alone was judged
usable in 59 % of the windows whose worst second stayed below 0.05 g, 25 % from 0.05 to 0.1 g, 13 %
to 0.2 g and 7 % beyond; the few of the last group are not worth the risk. A sensor lying still
stays below 0.013 g per axis (van Hees et al., J Appl Physiol 2014,
doi:10.1152/japplphysiol.00421.2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk

MOVING = 0.2
"""Limit of the standard deviation within a second, all axes together, g."""

LEAST = 8
"""Least number of samples by which a second is judged."""

KEPT = 32
"""Seconds kept; a window with its guards spans six."""

Floats = npt.NDArray[np.float64]


class MotionJudge:
    """Movement by the second, over the last `KEPT` seconds; the same for any cut of the input."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[Floats]] = {}

    def push(self, chunk: Chunk) -> None:
        """Add acceleration, (samples, axes) in g; samples that are not finite are left out."""
        if not len(chunk):
            return
        seconds = chunk.times // NS
        for second in np.unique(seconds).tolist():
            rows = chunk.data[(seconds == second) & np.isfinite(chunk.data).all(axis=1)]
            self._seconds.setdefault(second, []).append(rows)
        for old in sorted(self._seconds)[:-KEPT]:
            del self._seconds[old]

    def moving(self, start: int, end: int) -> bool:
        """Return whether the arm moved in any second that overlaps a time span, ns, and is complete
        at its end.

        An incomplete second does not count, so the result does not depend on how far ahead of the
        PPG a packet of acceleration reaches. Acceleration that arrives after the PPG is missed
        here and counts for the next window.
        """
        touched = range(start // NS, end // NS)
        return any(_deviation(self._seconds.get(second, ())) > MOVING for second in touched)


def _deviation(pieces: Sequence[Floats]) -> float:
    """Return the root of the summed variances of the axes of a second, g."""
    if sum(map(len, pieces)) < LEAST or len({piece.shape[1] for piece in pieces}) != 1:
        return 0.0
    rows = np.concatenate(pieces)
    return float(np.sqrt(rows.var(axis=0).sum()))
