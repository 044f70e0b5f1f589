"""Cut an arterial pressure waveform into beats as it arrives.

A beat begins with the steep rise of systole. The upstrokes, and with them the heart rate, are taken
from the light where it is present: its upstroke is there however badly the network reconstructs a
pulse unlike its training data. The pressures are those of the waveform between two upstrokes. Every
decision about a sample uses a fixed number of samples around it, so it does not depend on how the
waveform was cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.beats.combine import JoinedWave
from innpar.stream.beats.upstrokes import LEARN_SECONDS, Upstroke, UpstrokeFinder
from innpar.stream.results import Reason

BEFORE_SECONDS = 0.064
"""Longest time from the systolic maximum of the pressure to the steepest rise of the light."""
FOOT_SECONDS = 0.256
"""Longest time from the foot of the pressure to the steepest rise of the light."""
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
        likeness: Lower likeness of the two upstrokes; see `Upstroke`.
        abp: (end - foot,) float64, mmHg.
        piece: Piece of the waveform that holds the sample `confirmed`.
        oldest: Piece that holds the foot; no later cuff reading affects the beat.
        score: Lowest quality of the pieces it lies in.
        light: Lowest quality of their light, whatever its rhythm.
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
    likeness: float
    abp: npt.NDArray[np.float64]
    piece: JoinedWave
    oldest: JoinedWave
    score: float
    light: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OpenBeat:
    """The newest beat, whose end is not known yet.

    The `DetectedBeat` that ends it has the same values, but for `score`, which may be lower.

    Attributes:
        foot: Grid index of the diastolic minimum before the upstroke.
        peak: Grid index of the systolic maximum.
        confirmed: Grid index of the sample that confirmed the upstroke.
        sbp: Maximum, mmHg.
        dbp: Value at the foot, mmHg.
        likeness: See `Upstroke`.
        piece: Piece of the waveform that holds the sample `confirmed`.
        oldest: Piece that holds the foot.
        score: Lowest quality of the pieces from the foot to `confirmed`.
    """

    foot: int
    peak: int
    confirmed: int
    sbp: float
    dbp: float
    likeness: float
    piece: JoinedWave
    oldest: JoinedWave
    score: float

    def is_same(self, beat: DetectedBeat | OpenBeat | None) -> bool:
        """Whether it is the same beat of the same stretch of waveform, ended or not."""
        return beat is not None and (self.piece.segment, self.peak) == (
            beat.piece.segment,
            beat.peak,
        )


@dataclass(frozen=True, slots=True)
class _Systole:
    foot: int
    peak: int
    upstroke: Upstroke


@dataclass(slots=True)
class BeatFinder:
    """Cut a continuous waveform into beats.

    Attributes:
        rate: Sampling rate, Hz.
    """

    rate: float
    _upstrokes: UpstrokeFinder = field(init=False)
    _segment: int = field(init=False, default=-1)
    _start: int = field(init=False, default=0)
    _y: npt.NDArray[np.float64] = field(init=False)
    _pieces: deque[JoinedWave] = field(init=False, default_factory=deque)
    _last: _Systole | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._upstrokes = UpstrokeFinder(self.rate)
        self._y = np.empty(0)

    def push(self, piece: JoinedWave) -> list[DetectedBeat]:
        """Add the next samples and return the beats that they complete."""
        if piece.segment != self._segment:
            self._begin(piece)
        self._y = np.concatenate([self._y, piece.abp])
        light = piece.unit * piece.ppg.astype(np.float64) if len(piece.ppg) else piece.abp
        self._pieces.append(piece)
        beats: list[DetectedBeat] = []
        for upstroke in self._upstrokes.push(light):
            beats += self._beat(upstroke)
        self._forget()
        return beats

    @property
    def open(self) -> OpenBeat | None:
        """The beat whose upstroke is known and whose end is not; None without one."""
        last = self._last
        if last is None:
            return None
        confirmed = last.upstroke.index + self._upstrokes.ahead
        held = self._holding(last.foot, confirmed + 1)
        return OpenBeat(
            last.foot,
            last.peak,
            confirmed,
            float(self._y[last.peak - self._start]),
            float(self._y[last.foot - self._start]),
            last.upstroke.likeness,
            held[-1],
            held[0],
            min(p.score for p in held),
        )

    def _holding(self, start: int, stop: int) -> list[JoinedWave]:
        """Return the pieces that hold samples of [start, stop)."""
        return [p for p in self._pieces if p.index < stop and p.index + len(p.abp) > start]

    def _begin(self, piece: JoinedWave) -> None:
        self._segment, self._start = piece.segment, piece.index
        self._upstrokes.begin(piece.index)
        self._y = np.empty(0)
        self._pieces.clear()
        self._last = None

    def _beat(self, upstroke: Upstroke) -> list[DetectedBeat]:
        """Add an upstroke; return the beat between the previous one and this one."""
        here = self._systole(upstroke)
        if here is None:
            return []
        last, self._last = self._last, here
        if last is None or last.foot < upstroke.index - round(LONGEST_SECONDS * self.rate):
            return []
        confirmed = upstroke.index + self._upstrokes.ahead
        wave = self._y[last.foot - self._start : here.foot - self._start].copy()
        overlapping = self._holding(last.foot, here.foot)
        holder = next(p for p in self._pieces if p.index + len(p.abp) > confirmed)
        reasons = dict.fromkeys(r for p in overlapping for r in p.reasons)
        return [
            DetectedBeat(
                last.foot,
                last.peak,
                here.foot,
                confirmed,
                float(self._y[last.peak - self._start]),
                float(wave[0]),
                float(wave.mean()),
                (upstroke.steepest - last.upstroke.steepest) / self.rate,
                min(last.upstroke.likeness, upstroke.likeness),
                wave,
                holder,
                overlapping[0],
                min(p.score for p in overlapping),
                min(p.light for p in overlapping),
                tuple(reasons),
            )
        ]

    def _systole(self, upstroke: Upstroke) -> _Systole | None:
        """Return the foot and the systolic maximum of the pressure around an upstroke."""
        y, start, n = self._y, self._start, upstroke.index
        earliest = max(n - round(FOOT_SECONDS * self.rate), start)
        if self._last is not None:
            earliest = max(earliest, self._last.peak)
        begin = max(n - round(BEFORE_SECONDS * self.rate), earliest)
        top = begin + int(np.argmax(y[begin - start : n + self._upstrokes.ahead + 1 - start]))
        climb = y[earliest - start : top + 1 - start]
        foot = earliest + len(climb) - 1 - int(np.argmin(climb[::-1]))
        return _Systole(foot, top, upstroke) if foot < top else None

    def _forget(self) -> None:
        """Discard samples that no later decision needs."""
        decided = self._start + len(self._y) - self._upstrokes.ahead
        keep = decided - round(FOOT_SECONDS * self.rate)
        if self._last is not None:
            keep = min(keep, self._last.foot)
        # The upstrokes of the first seconds of a segment are decided together.
        keep = max(
            min(keep, decided - round(LEARN_SECONDS * self.rate) - 2 * self._upstrokes.ahead),
            decided - round(LONGEST_SECONDS * self.rate),
        )
        if self._last is not None and self._last.foot < keep:
            self._last = None
        if keep > self._start:
            self._y = self._y[keep - self._start :]
            self._start = keep
        while self._pieces and self._pieces[0].index + len(self._pieces[0].abp) <= self._start:
            self._pieces.popleft()
