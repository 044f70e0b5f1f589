"""Judge the rhythm of consecutive beats: whether a rate is right, and what is unusual about it."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev

from innpar.stream.beats.detector import DetectedBeat, OpenBeat
from innpar.stream.results import Reason
from innpar.stream.windows.quality import ACCEPT

RR_SECONDS = (0.27, 2.4)
"""Limits of a beat interval: 222 to 25 beats a minute."""
RATE = (38.0, 136.0)
"""Heart rates that the network has seen, per minute: 99.8 % of the 66,180 good windows of ten
seconds of the training records."""
REMEMBERED = 8
"""Intervals that make the usual one."""
RECENT = 5
"""Intervals whose median is the present rate."""
EARLY, LATE, PAUSE = 0.8, 1.25, 1.6
"""An interval below is early, one above is late, and one above is a pause or a missed beat,
relative to the usual."""
IRREGULAR = 0.15
"""Mean change from one interval to the next, as a share of their mean, of an irregular rhythm; a
strong respiratory arrhythmia stays below."""
ORDERLY = 0.08
"""Largest standard deviation of the intervals of an ectopic rhythm once each early beat is moved
back to its place, as a share of their mean; of fibrillation 0.1 to 0.2."""
ALIKE = 0.9
"""Likeness of upstrokes that are beats whatever their order."""
UNLIKE = 0.5
"""Likeness below which an upstroke may be noise."""


@dataclass(frozen=True, slots=True)
class RhythmVerdict:
    """Rhythm around one beat.

    Attributes:
        plausible: Whether the interval is one heart beat long.
        outside: ``slow`` or ``fast`` where the network's range is left.
        unusual: ``ectopic`` or ``irregular`` where that describes the rhythm.
    """

    plausible: bool
    outside: tuple[Reason, ...]
    unusual: tuple[Reason, ...]


@dataclass(slots=True)
class RhythmJudge:
    """Judge consecutive beats; a gap starts anew."""

    _last: DetectedBeat | None = field(init=False, default=None)
    _known: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=REMEMBERED))

    def push(self, beat: DetectedBeat) -> RhythmVerdict:
        """Return the rhythm at a beat, by this one and those before."""
        last, self._last = self._last, beat
        if last is None or last.end != beat.foot:
            self._known.clear()
        known = self._known
        usual = median(known) if known else beat.rr
        low, high = RR_SECONDS
        plausible = low <= beat.rr <= high
        after_early = bool(known) and known[-1] < EARLY * usual
        unsteady = _unsteadiness(known) > IRREGULAR
        if beat.rr > PAUSE * usual and not (after_early or unsteady):
            plausible = False  # a missed beat
        if not EARLY * usual <= beat.rr <= LATE * usual and beat.likeness < ALIKE:
            plausible = False  # a rise unlike the others may be noise
        early = len(known) > 2 and beat.rr < EARLY * usual
        known.append(beat.rr)
        return RhythmVerdict(plausible, self._outside(), self._unusual(early or after_early))

    def possible(self, beat: OpenBeat) -> bool:
        """Return whether the rate is in the network's range ahead of a beat that has not ended."""
        last = self._last
        return last is None or last.end != beat.foot or not self._outside()

    def _outside(self) -> tuple[Reason, ...]:
        rate = 60.0 / median(list(self._known)[-RECENT:])
        return () if RATE[0] <= rate <= RATE[1] else ("slow" if rate < RATE[0] else "fast",)

    def _unusual(self, ectopic: bool) -> tuple[Reason, ...]:
        known = self._known
        if len(known) < RECENT or _unsteadiness(known) <= IRREGULAR:
            return ("ectopic",) if ectopic else ()
        order = _without_ectopy(list(known))
        return ("ectopic",) if pstdev(order) <= ORDERLY * fmean(order) else ("irregular",)


def _without_ectopy(intervals: list[float]) -> list[float]:
    """Return intervals with each early beat moved to the middle between its neighbours.

    An early beat and the pause after it take as long together as two usual beats.
    """
    found, at = list(intervals), 0
    if intervals[0] > LATE * median(intervals):  # a pause whose early beat is not known any more
        at = 1
    first = at
    while at < len(found) - 1:
        early = found[at] < EARLY * found[at + 1]
        if early:
            found[at] = found[at + 1] = (found[at] + found[at + 1]) / 2
        at += 2 if early else 1
    last = len(found) - (at < len(found) and found[-1] < EARLY * median(intervals))
    return found[first:last]


def _unsteadiness(intervals: deque[float] | list[float]) -> float:
    """Return the mean change from one interval to the next relative to their mean."""
    values = list(intervals)
    if len(values) < 2:
        return 0.0
    return fmean(abs(b - a) for a, b in itertools.pairwise(values)) / fmean(values)


def judged(beat: DetectedBeat, rhythm: RhythmVerdict) -> tuple[bool, tuple[Reason, ...]]:
    """Return whether a beat's heart rate is right, and the reasons against its pressures.

    A window without a period is no poor signal where its pulses are alike: the rhythm is the reason
    then, and the rate stands. The same where the network contradicts itself on such a rhythm.
    """
    seen = beat.score >= ACCEPT
    alike = beat.light >= ACCEPT and beat.likeness >= ALIKE
    clear = alike or (seen and beat.likeness >= UNLIKE)
    reasons: list[Reason] = [] if seen else list(beat.reasons)
    if not seen and alike and (rhythm.outside or rhythm.unusual):
        reasons = [reason for reason in reasons if reason != "low_quality"]
        reasons += rhythm.unusual
    if seen and not clear:
        reasons.append("low_quality")
    reasons += rhythm.outside
    return clear and rhythm.plausible, tuple(dict.fromkeys(reasons))
