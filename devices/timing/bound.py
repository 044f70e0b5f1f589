"""Limit on sample times: no sample is timed after its arrival. No I/O.

A loop that smooths bursts runs through their middle, so that the last samples of a burst are timed
ahead of their arrival; samples that were delivered twice are, too. All times are then shifted back
as far as necessary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ERROR = 2_000_000
"""Uncertainty of a sender's stamp on the host's clock, ns."""

RETURN = 0.005
"""Rate at which the shift is undone once it is not needed, s/s."""

Times = npt.NDArray[np.int64]


class Bound:
    """Limit of one stream's times to its arrivals; see the module.

    Args:
        error: Uncertainty of the times, ns: so far they may lie after their arrivals.
    """

    def __init__(self, error: int = ERROR) -> None:
        self._error = error
        self._back = 0.0  # shift of the times, ns
        self._last: int | None = None

    @property
    def last(self) -> int | None:
        """The last time returned, ns; None before any."""
        return self._last

    def hold(self, times: Times, arrivals: Times) -> Times:
        """Limit times to their arrivals.

        Args:
            times: (samples,) int64 ns, ascending.
            arrivals: (samples,) int64 ns, time of receipt of each sample.

        Returns:
            (samples,) int64 ns, ascending, after all times returned before.
        """
        if not len(times):
            return times
        if self._last is not None:
            self._back = max(self._back - RETURN * max(int(times[-1]) - self._last, 0), 0.0)
        latest = arrivals + self._error
        self._back = max(self._back, float((times - latest).max()))
        out = times - round(self._back)
        if self._last is not None and out[0] <= self._last:
            self._crowd(out, latest)
        self._last = int(out[-1])
        return out

    def _crowd(self, out: Times, latest: Times) -> None:
        """Move times that would precede those already returned into the span after them."""
        assert self._last is not None
        n = len(out)
        usual = max(int(out[-1] - out[0]) // max(n - 1, 1), 1)
        last = self._last
        for i in range(n):
            room = (int(latest[i]) - last) // (n - i + 1)
            out[i] = last = max(int(out[i]), last + max(min(usual // 2, room), 1))
