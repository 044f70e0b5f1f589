"""No sample was taken after it arrived: times held to that. Pure.

A loop that evens out bursts lies in their middle, so that the last samples of a burst are dated
ahead of the moment in which they came. The whole line is then drawn back as far as is needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ERROR = 2_000_000
"""ns by which the host's time of a sender's stamp may be off."""

RETURN = 0.005
"""How fast the line goes forward again once it need not be back, seconds a second."""

Times = npt.NDArray[np.int64]


class Bound:
    """Keeps the times of one stream from lying after its arrivals; see the module."""

    def __init__(self) -> None:
        self._back = 0.0  # ns that the line is drawn back
        self._last: int | None = None

    @property
    def last(self) -> int | None:
        """The last time given out, ns."""
        return self._last

    def hold(self, times: Times, arrivals: Times) -> Times:
        """Return (samples,) times that ascend where `times` do, after every one before them.

        Args:
            times: (samples,) int64 ns, ascending.
            arrivals: (samples,) int64 ns, when each of them came.
        """
        if not len(times):
            return times
        if self._last is not None:
            self._back = max(self._back - RETURN * max(int(times[-1]) - self._last, 0), 0.0)
        latest = arrivals + ERROR
        self._back = max(self._back, float((times - latest).max()))
        out = times - round(self._back)
        if self._last is not None and out[0] <= self._last:
            self._crowd(out, latest)
        self._last = int(out[-1])
        return out

    def _crowd(self, out: Times, latest: Times) -> None:
        """Bring times that would lie before what has been given out into the room behind it."""
        assert self._last is not None
        n = len(out)
        usual = max(int(out[-1] - out[0]) // max(n - 1, 1), 1)
        last = self._last
        for i in range(n):
            room = (int(latest[i]) - last) // (n - i + 1)
            out[i] = last = max(int(out[i]), last + max(min(usual // 2, room), 1))
