"""Find the systolic upstrokes of a pulse wave as it arrives.

The slope, smoothed by the derivative of a Gaussian, has one high peak a beat; its width passes the
harmonics of a pulse and little of the noise. A peak counts when it is the highest within a fifth of
a second on either side and reaches a share of the typical peak of the last beats. The share is
larger where a beat is early for the rhythm, so that noise in diastole is no beat. At the start of a
segment, and after 2.5 s without a beat, the typical peak is the highest of 2.5 s: the segment's
first, or those just before.

A dicrotic wave is as high as the systolic one in some people, but it follows the end of ejection,
0.25 to 0.46 s after the upstroke (Weissler, Harris & Schoenfeld, Circulation 37 (1968) 149: 413 ms
less 1.7 ms a beat a minute), begins well above the foot of the pulse and rises less steeply. A real
beat so early begins near the foot, or reaches the steepness of the one before.

Every decision about a sample uses a fixed number of samples around it and the upstrokes before it,
so it does not depend on how the signal was cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIGMA_SECONDS = 0.042
"""Width of the Gaussian whose derivative gives the slope."""
REACH_SECONDS = 0.136
"""Time on either side whose samples enter a slope."""
RIVAL_SECONDS = 0.184
"""Time on either side within which an upstroke is the steepest."""
LEARN_SECONDS = 2.5
LEAST_SHARE = 0.25
"""Share of the typical slope that makes an upstroke a beat where one is due."""
FIRST_SHARE = 0.7
"""Share of the typical slope that a first upstroke needs."""
LARGEST_SHARE = 0.6
"""The same in a noisy signal."""
ABOVE_NOISE = 3.0
"""Least slope of a beat relative to the usual one of the rises in diastole that are no beats."""
DICROTIC_SECONDS = 0.46
"""Longest time from an upstroke to its dicrotic wave."""
DICROTIC_SHARE = 0.8
"""Least slope, relative to the last upstroke, of a beat in place of a dicrotic wave."""
RAISED = 0.12
"""Start of a dicrotic wave above the foot, as a share of the pulse."""
PREMATURE_SHARE = 0.32
"""Least share of the typical slope of a beat in place of a dicrotic wave where the other pulses
have none."""
FOLLOWED = 0.5
"""Share of pulses with a second wave from which that is dicrotic."""
BEFORE_SECONDS, AFTER_SECONDS = 0.16, 0.24
"""Part of a pulse around its upstroke that is compared with those before."""
REMEMBERED = 8
"""Upstrokes that give the typical slope, interval and shape."""


@dataclass(frozen=True, slots=True)
class Upstroke:
    """One systolic upstroke.

    Attributes:
        index: Grid index of the steepest sample.
        steepest: The same between samples.
        likeness: Correlation with the mean shape of the upstrokes before, -1 to 1; 1 for the first.
    """

    index: int
    steepest: float
    likeness: float


@dataclass(frozen=True, slots=True)
class _Pulse:
    """Slope, foot and height of the last upstroke, in the unit of the signal."""

    index: int
    slope: float
    foot: float
    height: float


@dataclass(slots=True)
class UpstrokeFinder:
    """Find upstrokes in one gap-free signal; `begin` starts the next.

    Attributes:
        rate: Sampling rate, Hz.
    """

    rate: float
    _weights: Floats = field(init=False)
    _start: int = field(init=False, default=0)
    _first: int = field(init=False, default=0)
    _decided: int = field(init=False, default=0)
    _y: Floats = field(init=False)
    _slopes: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=REMEMBERED))
    _shapes: deque[Floats] = field(init=False, default_factory=lambda: deque(maxlen=REMEMBERED))
    _bumps: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=2 * REMEMBERED))
    _followed: deque[bool] = field(init=False, default_factory=lambda: deque(maxlen=REMEMBERED))
    _second: bool = field(init=False, default=False)
    _last: _Pulse | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        taps = np.arange(1, self._samples(REACH_SECONDS) + 1) / self.rate
        self._weights = taps * np.exp(-0.5 * (taps / SIGMA_SECONDS) ** 2)
        self._y = np.empty(0)

    @property
    def ahead(self) -> int:
        """Samples after an upstroke that are needed to decide about it."""
        return self._samples(RIVAL_SECONDS) + len(self._weights)

    def begin(self, index: int) -> None:
        """Start a segment whose first sample has this grid index."""
        self._start = index
        self._first = self._decided = index + self.ahead
        self._y = np.empty(0)
        for known in (self._slopes, self._bumps, self._shapes, self._followed):
            known.clear()
        self._second = False
        self._last = None

    def push(self, samples: Floats) -> list[Upstroke]:
        """Add the next samples (n,) and return the upstrokes that they decide."""
        self._y = np.concatenate([self._y, samples])
        rival, learn = self._samples(RIVAL_SECONDS), self._samples(LEARN_SECONDS)
        stop = self._start + len(self._y) - self.ahead
        if stop < self._first + learn or stop <= self._decided:
            return []
        first = self._decided - rival
        slopes = self._slope(first, stop + rival)
        view = np.lib.stride_tricks.sliding_window_view(slopes, 2 * rival + 1)
        middle = view[:, rival]
        steepest = (middle > view[:, :rival].max(axis=1)) & (
            middle >= view[:, rival + 1 :].max(axis=1)
        )
        found = []
        for n in (np.flatnonzero(steepest & (middle > 0)) + self._decided).tolist():
            if self._is_beat(n, float(slopes[n - first])):
                found.append(self._accept(n, slopes[n - first - 1 : n - first + 2]))
        self._decided = stop
        self._forget()
        return found

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.rate)

    def _slope(self, first: int, stop: int) -> Floats:
        """Return the smoothed slope at each grid index of [first, stop)."""
        y, at, count = self._y, first - self._start, stop - first
        slope = np.zeros(count)
        # Sample by sample in a fixed order: a matrix product may round by the length of its input.
        for k, weight in enumerate(self._weights.tolist(), start=1):
            slope += weight * (y[at + k : at + k + count] - y[at - k : at - k + count])
        return slope

    def _is_beat(self, n: int, slope: float) -> bool:
        learn = self._samples(LEARN_SECONDS)
        last = self._last
        if last is None or n - last.index > learn:
            self._slopes.clear()
        if not self._slopes:
            since = max(n - learn, self._first)
            until = max(since + learn, n + 1)
            self._slopes.append(float(self._slope(since, until).max()))
            return slope >= FIRST_SHARE * self._slopes.pop()
        share = slope / float(np.median(self._slopes))
        if last is None:
            return share >= FIRST_SHARE
        least = LEAST_SHARE
        if len(self._bumps) > 1:
            least = max(least, min(LARGEST_SHARE, ABOVE_NOISE * float(np.median(self._bumps))))
        if n - last.index > self._samples(DICROTIC_SECONDS):
            if share < least:
                self._bumps.append(share)
            return share >= least
        if share < LEAST_SHARE or not self._is_second(n, slope, last):
            return share >= least
        repeated, self._second = self._second, True
        known = len(self._followed) >= REMEMBERED // 2 and not repeated
        usual = sum(self._followed) >= FOLLOWED * len(self._followed)
        return known and not usual and least == LEAST_SHARE and share >= PREMATURE_SHARE

    def _is_second(self, n: int, slope: float, last: _Pulse) -> bool:
        """Return whether an early rise looks like the second wave of the pulse before it."""
        raised = (self._foot(n) - last.foot) / last.height
        return raised > (RAISED if slope >= DICROTIC_SHARE * last.slope else RAISED / 2)

    def _accept(self, n: int, slopes: Floats) -> Upstroke:
        if self._last is not None:
            self._followed.append(self._second)
        self._second = False
        slope, foot = float(slopes[1]), self._foot(n)
        at = n - self._start
        top = float(self._y[at : at + self.ahead].max())
        self._last = _Pulse(n, slope, foot, max(top - foot, 1e-12))
        self._slopes.append(slope)
        return Upstroke(n, n + _vertex(slopes), self._likeness(at))

    def _foot(self, n: int) -> float:
        at = n - self._start
        return float(self._y[at - self.ahead // 2 : at + 1].min())

    def _likeness(self, at: int) -> float:
        before, after = self._samples(BEFORE_SECONDS), self._samples(AFTER_SECONDS)
        shape = self._y[at - before : at + after]
        shape = shape - shape.mean()
        shape /= max(float(np.sqrt((shape**2).sum())), 1e-12)
        if not self._shapes:
            self._shapes.append(shape)
            return 1.0
        mean = np.mean(self._shapes, axis=0)
        self._shapes.append(shape)
        norm = max(float(np.sqrt((mean**2).sum())), 1e-12)
        return float((shape * mean).sum()) / norm

    def _forget(self) -> None:
        """Discard samples that no later decision needs."""
        keep = self._decided - self._samples(LEARN_SECONDS) - 2 * self.ahead
        if keep > self._start:
            self._y = self._y[keep - self._start :]
            self._start = keep


def _vertex(values: Floats) -> float:
    """Return the place of the maximum around the middle of three values, by a parabola."""
    a, b, c = values.tolist()
    bend = a - 2 * b + c
    return 0.5 * (a - c) / bend if bend < 0 else 0.0
