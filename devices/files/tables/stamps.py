"""Stamps that are not the samples' own times: shared by several rows, or jittered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS
from innpar.devices.files.recording import RecordingBlock
from innpar.devices.timing.dejitter import Dejitter, even

SHARED = 0.5
"""Share of rows with the stamp of the row before, beyond which stamps are shared."""
HOLE = 4.0
"""Median steps beyond which a step is a hole, not jitter."""
UNEVEN, OFTEN = 0.2, 0.1
"""Stamps are jittered if more than this share of the steps deviates by more than that share of a
period."""
FEWEST = 64
LIKE = 0.3
"""Relative deviation of the number of rows with one stamp, within which none is missing."""


def are_shared(times: npt.NDArray[np.int64]) -> bool:
    """Return whether most rows have the stamp of the row before."""
    return len(times) > 1 and float(np.mean(np.diff(times) == 0)) > SHARED


def are_jittered(times: npt.NDArray[np.int64]) -> bool:
    """Return whether stamps of evenly sampled rows are too uneven to be the samples' times."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    near = steps[np.abs(steps) < HOLE * usual]
    whole = np.rint(near / usual) * usual if usual else 0.0  # of rows that are missing
    return (
        len(near) > FEWEST
        and float(np.mean(np.abs(near - whole) > UNEVEN * usual)) > OFTEN
        and even(times)
    )


class JitteredStamps:
    """Times of evenly sampled rows whose stamps are jittered; see `timing.dejitter`.

    Args:
        times: (rows,) int64, ns, stamps of the first rows.

    Attributes:
        rate: Sampling rate, Hz.
    """

    def __init__(self, times: npt.NDArray[np.int64]) -> None:
        steps = np.diff(times)
        self.rate = float(NS / steps[steps < HOLE * np.median(steps)].mean())

    def spread(self, blocks: Iterator[RecordingBlock]) -> Iterator[RecordingBlock]:
        """Yield blocks at the times without jitter, as they become known."""
        loop = Dejitter(self.rate)
        held: RecordingBlock | None = None
        for block in itertools.chain(blocks, (None,)):
            if block is not None:
                held = block if held is None else held.with_more(block)
            runs = loop.flush() if block is None else loop.push(block.times)
            if runs and held is not None:
                times = np.concatenate([run.times for run in runs])
                rest = held.times[len(times) :]
                yield held.retimed(times, 0, len(times))
                held = held.retimed(np.concatenate([times, rest]), len(times), len(held.times))


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
