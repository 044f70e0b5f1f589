"""Stamps shared by several rows: whole seconds, or one stamp for a packet of samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS
from innpar.devices.files.recording import RecordingBlock

SHARED = 0.5
"""Share of rows with the stamp of the row before, beyond which stamps are shared."""
LIKE = 0.3
"""Relative deviation of the number of rows with one stamp, within which none is missing."""


def are_shared(times: npt.NDArray[np.int64]) -> bool:
    """Return whether most rows have the stamp of the row before."""
    return len(times) > 1 and float(np.mean(np.diff(times) == 0)) > SHARED


class SharedStamps:
    """Times of rows that share stamps: evenly spread from each stamp to the next.

    Args:
        times: (rows,) int64, ns, stamps of the first rows.

    Attributes:
        rate: Rows per second between the first and the last change; NaN if there is none.
    """

    def __init__(self, times: npt.NDArray[np.int64]) -> None:
        changes = np.flatnonzero(np.diff(times)) + 1
        self.rate = float("nan")
        if len(changes) > 1:
            # The median: rows are missing from some groups, never too many in one.
            steps, counts = np.diff(times[changes]), np.diff(changes)
            self._step, self._count = float(np.median(steps)), float(np.median(counts))
            whole = (np.abs(steps / self._step - 1) < LIKE) & (
                np.abs(counts / self._count - 1) < LIKE
            )
            self.rate = float(counts[whole].sum() * NS / steps[whole].sum())

    def spread(self, blocks: Iterator[RecordingBlock]) -> Iterator[RecordingBlock]:
        """Yield blocks with a time of its own for each row; every block ends with a stamp."""
        held: RecordingBlock | None = None
        first = True
        for block in blocks:
            joined = block if held is None else held.with_more(block)
            changes = np.flatnonzero(np.diff(joined.times)) + 1
            if not len(changes):
                held = joined
                continue
            edges = [0, *changes.tolist()]
            times = joined.times.copy()
            for start, stop in itertools.pairwise(edges):
                stamp, following = int(joined.times[start]), int(joined.times[stop])
                times[start:stop] = self._times(stamp, following, stop - start, first)
                first = False
            yield joined.retimed(times, 0, edges[-1])
            held = joined.retimed(joined.times, edges[-1], len(times))
        if held is not None:
            period = NS / self.rate
            since = np.rint(np.arange(len(held.times)) * period).astype(np.int64)
            yield held.retimed(held.times + since, 0, len(since))

    def _times(self, stamp: int, following: int, count: int, first: bool) -> npt.NDArray[np.int64]:
        place, period = np.arange(count, dtype=np.float64), NS / self.rate
        near = abs((following - stamp) / self._step - 1) < LIKE
        if near and abs(count / self._count - 1) < LIKE:
            period = (following - stamp) / count
        elif first and near:  # the recording began between two stamps
            place = place - count + (following - stamp) / period
        times: npt.NDArray[np.int64] = stamp + np.rint(place * period).astype(np.int64)
        return times
