"""Whether the arm moves, by its accelerometer: a window of light taken meanwhile is not believed.

What counts is how far the acceleration strays within a second, all axes together. On an Empatica E4
worn through an hour of daily life (3570 windows of 5.1 s), light alone was found
usable in 59 % of the windows whose worst second strayed less than 0.05 g, 25 % from 0.05 to 0.1 g,
13 % to 0.2 g and 7 % beyond: there, what is left is not worth its risk. A sensor lying still strays
by less than 0.013 g an axis (van Hees et al., J Appl Physiol 2014,
doi:10.1152/japplphysiol.00421.2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk

MOVING = 0.2
"""g, root of the summed variances of a second's axes, from which on an arm moves."""

LEAST = 8
"""Samples of a second without which it is not judged."""

KEPT = 32
"""Seconds kept; a window with its guards has six."""

Floats = npt.NDArray[np.float64]


class MotionJudge:
    """Keeps the last seconds of acceleration, by the second; pure, and the same for any cut."""

    def __init__(self) -> None:
        self._seconds: dict[int, list[Floats]] = {}

    def push(self, chunk: Chunk) -> None:
        """Take acceleration, (samples, axes) in g; samples that are not numbers are left out."""
        if not len(chunk):
            return
        seconds = chunk.times // NS
        for second in np.unique(seconds).tolist():
            rows = chunk.data[(seconds == second) & np.isfinite(chunk.data).all(axis=1)]
            self._seconds.setdefault(second, []).append(rows)
        for old in sorted(self._seconds)[:-KEPT]:
            del self._seconds[old]

    def moving(self, start: int, end: int) -> bool:
        """Return whether the arm moved in any second that reaches into a time span, ns, and is over
        at its end.

        A second that is not over says nothing yet, so that the answer does not depend on how far
        ahead of the light a packet of acceleration reaches. What arrives after the light is not
        known to move; the next window sees what this one missed.
        """
        touched = range(start // NS, end // NS)
        return any(_strays(self._seconds.get(second, ())) > MOVING for second in touched)


def _strays(pieces: Sequence[Floats]) -> float:
    """Return the root of the summed variances of a second's axes, g."""
    if sum(map(len, pieces)) < LEAST or len({piece.shape[1] for piece in pieces}) != 1:
        return 0.0
    rows = np.concatenate(pieces)
    return float(np.sqrt(rows.var(axis=0).sum()))
