"""Detect beats in an arterial pressure waveform as it arrives.

A beat begins with the steep rise of systole. The rise over the last 128 ms, a slope sum (1), has
one high peak per beat; a peak counts when it is the highest within a quarter second on either side
and reaches about a third of the typical rise of the last beats, which the dicrotic wave does not.
At the start of a segment, and after two seconds without a beat, the typical rise is the highest
rise of two seconds: the segment's first, or those just before. Rises and heart rate are taken from
the PPG where it is present: its upstroke is there however badly the network reconstructs a pulse
unlike its training data. Every decision about a sample uses a fixed number of samples around it, so
it does not depend on how the waveform was cut.

1. Zong et al., An open-source algorithm to detect onset of arterial blood pressure pulses,
   Computers in Cardiology 30 (2003) 259, doi 10.1109/CIC.2003.1291140
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.beats.combine import JoinedWave
from innpar.stream.results import Reason

RISE_SECONDS = 0.128
RIVAL_SECONDS = 0.256
LEARN_SECONDS = 2.0
FOOT_SECONDS = 0.32
LEAST_SHARE = 0.35
"""Share of the typical rise that makes a rise a beat."""
LONGEST_SECONDS = 20.0
"""Longest time between two rises of one beat."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBeat:
    """One beat of a waveform, foot to foot.

    Attributes:
        foot: Grid index of the diastolic minimum before the upstroke.
        peak: Grid index of the systolic maximum.
        end: Grid index of the next foot.
        confirmed: Grid index of the sample that confirmed the end of the beat.
        sbp: Maximum, mmHg.
        dbp: Value at the foot, mmHg.
        map_: Mean from foot to foot, mmHg.
        rr: Time from this upstroke to the next, s.
        abp: (end - foot,) float64, mmHg.
        piece: Piece of the waveform that holds the sample `confirmed`.
        oldest: Piece that holds the foot; no later cuff reading affects the beat.
        score: Lowest quality of the pieces it lies in.
        reasons: Reasons of those pieces for a quality below acceptance.
    """

    foot: int
    peak: int
    end: int
    confirmed: int
    sbp: float
    dbp: float
    map_: float
    rr: float
    abp: npt.NDArray[np.float64]
    piece: JoinedWave
    oldest: JoinedWave
    score: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Upstroke:
    foot: int
    peak: int
    steepest: float


@dataclass(slots=True)
class BeatFinder:
    """Cut a continuous waveform into beats.

    Attributes:
        rate: Sampling rate, Hz.
    """

    rate: float
    _segment: int = field(init=False, default=-1)
    _start: int = field(init=False, default=0)
    _first: int = field(init=False, default=0)
    _decided: int = field(init=False, default=0)
    _y: npt.NDArray[np.float64] = field(init=False)
    _rising: npt.NDArray[np.float64] = field(init=False)
    _pieces: deque[JoinedWave] = field(init=False, default_factory=deque)
    _rises: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=8))
    _last: _Upstroke | None = field(init=False, default=None)
    _last_rise: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._y = self._rising = np.empty(0)

    def push(self, piece: JoinedWave) -> list[DetectedBeat]:
        """Add the next samples and return the beats that they complete."""
        if piece.segment != self._segment:
            self._begin(piece)
        self._y = np.concatenate([self._y, piece.abp])
        rising = piece.ppg if len(piece.ppg) else piece.abp
        self._rising = np.concatenate([self._rising, rising.astype(np.float64)])
        self._pieces.append(piece)
        rival = round(RIVAL_SECONDS * self.rate)
        learn = round(LEARN_SECONDS * self.rate)
        stop = self._start + len(self._y) - rival
        if stop < self._first + learn or stop <= self._decided:
            return []
        first = self._decided - rival
        heights = self._heights(first, self._start + len(self._y))
        view = np.lib.stride_tricks.sliding_window_view(heights, 2 * rival + 1)
        left, right = view[:, :rival].max(axis=1), view[:, rival + 1 :].max(axis=1)
        middle = view[:, rival]
        peaks = np.flatnonzero((middle > left) & (middle >= right)) + self._decided
        beats: list[DetectedBeat] = []
        for n in peaks.tolist():
            height = float(heights[n - first])
            if n - self._last_rise > learn:
                self._rises.clear()
            if not self._rises:
                since = max(n - learn, self._first)
                self._rises.append(self._highest(since, max(since + learn, n + rival)))
            if height < LEAST_SHARE * float(np.median(self._rises)) or height <= 0:
                continue
            self._rises.append(height)
            self._last_rise = n
            beats += self._upstroke(n, n + rival)
        self._decided = stop
        self._forget()
        return beats

    def _begin(self, piece: JoinedWave) -> None:
        rise, rival = round(RISE_SECONDS * self.rate), round(RIVAL_SECONDS * self.rate)
        self._segment, self._start = piece.segment, piece.index
        # The first sample with a full rise and a full interval of rivals before it.
        self._first = self._decided = self._last_rise = piece.index + rise + rival
        self._y = self._rising = np.empty(0)
        self._pieces.clear()
        self._rises.clear()
        self._last = None

    def _highest(self, first: int, stop: int) -> float:
        return float(self._heights(first, stop).max())

    def _heights(self, first: int, stop: int) -> npt.NDArray[np.float64]:
        """Return the rise over the last 128 ms at each grid index of [first, stop)."""
        rise = round(RISE_SECONDS * self.rate)
        y = self._rising[first - rise - self._start : stop - self._start]
        lows = np.lib.stride_tricks.sliding_window_view(y, rise + 1).min(axis=1)
        return np.asarray(y[rise:] - lows)

    def _upstroke(self, n: int, confirmed: int) -> list[DetectedBeat]:
        """Add the rise that ends at `n`; return the beat between the previous rise and this one."""
        y, start = self._y, self._start
        rise = n - round(RISE_SECONDS * self.rate)
        earliest = max(n - round(FOOT_SECONDS * self.rate), start)
        if self._last is not None:
            earliest = max(earliest, self._last.peak)
        begin = max(rise, earliest)
        top = int(np.argmax(y[begin - start : confirmed + 1 - start])) + begin
        climb = y[earliest - start : top + 1 - start]
        foot = earliest + len(climb) - 1 - int(np.argmin(climb[::-1]))
        if foot >= top:
            return []
        if self._last is not None and self._last.foot < n - round(LONGEST_SECONDS * self.rate):
            self._last = None
        slope = np.diff(self._rising[rise - start : n + 1 - start])
        here = _Upstroke(foot, top, rise + 0.5 + _vertex(slope))
        last, self._last = self._last, here
        if last is None:
            return []
        wave = y[last.foot - start : foot - start].copy()
        overlapping = [
            p for p in self._pieces if p.index < foot and p.index + len(p.abp) > last.foot
        ]
        holder = next(p for p in self._pieces if p.index + len(p.abp) > confirmed)
        reasons = dict.fromkeys(r for p in overlapping for r in p.reasons)
        return [
            DetectedBeat(
                last.foot,
                last.peak,
                foot,
                confirmed,
                float(y[last.peak - start]),
                float(wave[0]),
                float(wave.mean()),
                (here.steepest - last.steepest) / self.rate,
                wave,
                holder,
                overlapping[0],
                min(p.score for p in overlapping),
                tuple(reasons),
            )
        ]

    def _forget(self) -> None:
        """Discard samples that no later decision needs."""
        keep = self._decided - round((LEARN_SECONDS + RISE_SECONDS + RIVAL_SECONDS) * self.rate)
        if self._last is not None:
            keep = min(keep, self._last.foot)
        keep = max(keep, self._decided - round(LONGEST_SECONDS * self.rate))
        if self._last is not None and self._last.foot < keep:
            self._last = None
        if keep > self._start:
            self._y = self._y[keep - self._start :]
            self._rising = self._rising[keep - self._start :]
            self._start = keep
        while self._pieces and self._pieces[0].index + len(self._pieces[0].abp) <= self._start:
            self._pieces.popleft()


def _vertex(values: npt.NDArray[np.float64]) -> float:
    """Return the position of the maximum, interpolated by a parabola."""
    k = int(np.argmax(values))
    if 0 < k < len(values) - 1:
        a, b, c = (float(value) for value in values[k - 1 : k + 2])
        if a - 2 * b + c < 0:
            return k + 0.5 * (a - c) / (a - 2 * b + c)
    return float(k)
