"""Check of a sender's stamps against their arrivals: unit and jumps. No I/O.

LSL stamps are seconds of the sender's `local_clock`, but programs also send milliseconds,
microseconds, or the time since 1970, and clocks that are set. Arrivals show all of it: a stamp is
never later than its arrival, and its delay beyond the smallest one is that of the network.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS

PLAUSIBLE = (-60 * NS, NS)
"""Range of a stamp on LSL's clock relative to its arrival, ns; outside, it is another clock."""

DAY = 86_400 * NS
"""Most, ns, by which a clock that shows the time since 1970 is taken to be wrong."""

UNITS = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}

MEASURE = NS
"""Span of arrivals, ns, over which the unit of an unknown clock is measured."""

AHEAD = 150_000_000
"""ns. Stamps that come so much sooner after their time than any before have jumped ahead; an
arrival is delayed by a busy computer, but never early."""

BACK = 300_000_000
"""Step back, ns, that is a jump and not jitter."""

FORGET = 1e-3
"""Rate at which the smallest delay is forgotten, s/s: faster than any clock drifts."""

Stamps = npt.NDArray[np.int64]


class StampUnit:
    """Unit of a sender's stamps.

    Attributes:
        scale: Seconds per unit; 0 if arrivals are used instead; None while unknown.
        own: Whether the stamps are on another clock than LSL's.
    """

    def __init__(self) -> None:
        self.scale: float | None = None
        self.own = False
        self._first: tuple[float, int] | None = None

    def learn(self, stamps: npt.NDArray[np.float64], arrival: int, correction: int) -> bool:
        """Take stamps; return whether the unit is known.

        Args:
            stamps: (samples,) as sent.
            arrival: ns since the Unix epoch.
            correction: Offset from the sender's LSL clock to the host's, ns.
        """
        if self.scale is not None:
            return True
        last = float(stamps[-1])
        if not math.isfinite(last):
            self.scale, self.own = 0.0, True
            return True
        for offset, early, late in ((correction, *PLAUSIBLE), (0, -DAY, DAY)):
            for scale in UNITS:
                if early < last * scale * NS + offset - arrival < late:
                    self.scale, self.own = scale, offset != correction
                    return True
        self.own = True
        if self._first is None:
            self._first = last, arrival
        span = arrival - self._first[1]
        if span < MEASURE:
            return False
        ratio = (last - self._first[0]) * NS / span
        self.scale = next((s for s in UNITS if 0.8 < ratio * s < 1.25), 0.0)
        return True

    def convert(self, stamps: npt.NDArray[np.float64], arrival: int) -> Stamps:
        """Return stamps in ns, (samples,); the arrival for each where stamps are of no use."""
        assert self.scale is not None
        if self.scale == 0.0 or not np.isfinite(stamps).all():
            return np.full(len(stamps), arrival, np.int64)
        return np.rint(stamps * (NS * self.scale)).astype(np.int64)

    @property
    def text(self) -> str:
        """Description of an unusual unit or clock; empty if stamps are as they should be."""
        if self.scale == 0.0:
            return "the sender's stamps show no time; samples are timed by their arrival"
        unit = "" if self.scale in (None, 1.0) else UNITS[self.scale]
        if self.own:
            shown = f", and stamps in {unit}" if unit else ""
            return f"the sender does not use LSL's clock{shown}; samples are timed by their arrival"
        return f"the sender stamps in {unit}, not in seconds; converted" if unit else ""


class StampJumps:
    """Removal of jumps of a sender's clock, during which no sample is missing.

    Attributes:
        jumped: Sum of the jumps removed, ns.
    """

    def __init__(self) -> None:
        self.jumped = 0
        self.restart()

    def restart(self) -> None:
        """Forget the delays: the next stamps may follow a pause or come from a new outlet."""
        self._last: int | None = None
        self._began = 0
        self._least = 0.0  # smallest recent delay, ns
        self._usual = 0.0  # largest recent delay beyond it, ns

    def push(self, stamps: Stamps, arrival: int, period: float) -> Stamps:
        """Return stamps without their jumps.

        Args:
            stamps: (samples,) ns, at least one.
            arrival: ns since the Unix epoch.
            period: Of the samples, ns; 0 if unknown.
        """
        stamps = stamps - self.jumped
        if self._last is None:
            self._least, self._began = float(arrival - stamps[-1]), arrival
        elif period:
            steps = np.diff(stamps, prepend=self._last)
            if float(steps.min()) < -BACK:
                stamps = self._mend(stamps, int(steps.argmin()), arrival, period)
            ahead = self._least - float(arrival - stamps[-1])
            if ahead > AHEAD and arrival - self._began > NS:
                steps = np.diff(stamps, prepend=self._last)
                stamps = self._mend(stamps, int(steps.argmax()), arrival, period)
        self._observe(int(stamps[-1]), arrival)
        return stamps

    def _mend(self, stamps: Stamps, at: int, arrival: int, period: float) -> Stamps:
        """Let the samples from `at` on follow those before, unless a pause shows between them."""
        assert self._last is not None
        before = int(stamps[at - 1]) if at else self._last
        latest = arrival - self._least - (len(stamps) - 1 - at) * period
        earliest = latest - self._usual - period
        place = min(max(before + period, earliest), max(latest, before + period))
        jump = int(stamps[at]) - round(place)
        self.jumped += jump
        return np.concatenate([stamps[:at], stamps[at:] - jump])

    def _observe(self, stamp: int, arrival: int) -> None:
        delay = float(arrival - stamp)
        since = 0 if self._last is None else max(stamp - self._last, 0)
        self._least = min(delay, self._least + FORGET * since)
        self._usual = max(delay - self._least, self._usual * 0.99)
        self._last = stamp
