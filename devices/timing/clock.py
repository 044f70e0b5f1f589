"""Sensor time to host time: the lower envelope of arrival delays, and its slope. Pure.

A frame stamped T by the sensor arrives at T + offset + skew × T + delay, and delay is never below
some smallest value. The line under all (T, arrival − T) that lies closest to them is an edge of
their lower convex hull, which no amount of jitter above it can move (Moon, Skelly, Towsley, INFOCOM
1999, doi:10.1109/INFCOM.1999.749287). So host times come out as sensor time plus the smallest
delay, which no receiver can tell from the offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS


@dataclass(frozen=True, slots=True)
class Trust:
    """What is expected of a sensor's own time before it has been measured.

    Attributes:
        bucket: ns. Of each such stretch of sensor time only the fastest frame is kept.
        window: ns. How far back the slope looks: long against jitter, short against a day's
            temperatures.
        prior: Seconds of data before a measured slope outweighs the expectation that there is none.
        most: Skew beyond which nothing is believed.
        slew: How fast `Steady` follows a corrected line, seconds a second: too little for time to
            turn.
    """

    bucket: int
    window: int
    prior: float
    most: float
    slew: float


CRYSTAL = Trust(2 * NS, 600 * NS, 20.0, 2e-3, 0.005)
"""A sensor that stamps its samples: no crystal is worse, more is a broken stamp."""

COUNT = Trust(NS // 2, 120 * NS, 1.5, 0.25, 0.03)
"""Samples that are counted: their rate is only said to be what it is. 30 ms of jitter a second and
a half are 2 %, which is about how far off such rates are."""

JUMP = NS // 2
"""An arrival this far under the line, or above it for `PATIENCE`, means that a clock was set."""

PATIENCE = 30 * NS


class SensorClock:
    """The running relation of one sensor's clock to the host's.

    `observe` every frame as it arrives; ask `host` for times at any moment after the first.

    Args:
        trust: What is expected of the sensor's time.

    Attributes:
        epochs: How often it was reset from outside.
    """

    def __init__(self, trust: Trust = CRYSTAL) -> None:
        self.trust = trust
        self.epochs: int = -1
        self.reset()

    def reset(self) -> None:
        """Forget everything: the sensor's clock was set, or another sensor answers."""
        self.epochs += 1
        self._forget()

    def _forget(self) -> None:
        self._origin = 0  # sensor time of the first frame
        self._base = 0  # its arrival less its stamp
        self._points: list[tuple[float, float]] = []  # (s since origin, s of delay above base)
        self._bucket: tuple[int, float, float] | None = None  # number, and its lowest point so far
        self._offset = 0.0
        self._skew = 0.0
        self._excess = 0.0  # mean delay above the line, s
        self._frames = 0
        self._newest = -1.0  # s since origin
        self._late_since: float | None = None

    @property
    def known(self) -> bool:
        """Whether a frame has been seen since the last reset."""
        return self._frames > 0

    @property
    def span(self) -> float:
        """Seconds that the measured slope rests on."""
        return self._newest - self._points[0][0] if self._points else 0.0

    @property
    def skew_ppm(self) -> float:
        """How much faster the host's clock runs than the sensor's, parts per million."""
        return self._skew * 1e6

    @property
    def error_ms(self) -> float:
        """Expected distance of the line from the true smallest delay, ms.

        The smallest of n delays with mean excess m exceeds the true smallest by about m / n.
        """
        return 1e3 * self._excess / max(min(self._frames, len(self._points) + 1), 1)

    def observe(self, sensor: int, arrival: int) -> None:
        """Take one frame.

        Args:
            sensor: Its stamp, ns on the sensor's clock.
            arrival: When it was received, ns since the Unix epoch on the host's clock.
        """
        if not self._frames:
            self._origin, self._base = sensor, arrival - sensor
        x = (sensor - self._origin) / NS
        y = (arrival - sensor - self._base) / NS
        above = y - self._offset - self._skew * x
        if self._was_set(x, above):
            self._forget()
            return self.observe(sensor, arrival)
        self._frames += 1
        self._excess += (max(above, 0.0) - self._excess) / min(self._frames, 100)
        self._offset += min(above, 0.0)
        if x > self._newest:  # two streams of one sensor may overtake each other
            self._newest = x
            self._keep(x, y)
        return None

    def _was_set(self, x: float, above: float) -> bool:
        """Tell a clock that was set from a frame that was merely held up somewhere."""
        if above < JUMP / NS:
            self._late_since = None
            return above < -JUMP / NS
        self._late_since = x if self._late_since is None else self._late_since
        return x - self._late_since > PATIENCE / NS

    def _keep(self, x: float, y: float) -> None:
        number = int(x * NS) // self.trust.bucket
        if self._bucket is None:
            self._bucket = number, x, y
        elif number == self._bucket[0]:
            _, x0, y0 = self._bucket
            if y - self._skew * x < y0 - self._skew * x0:
                self._bucket = number, x, y
        else:
            self._points.append(self._bucket[1:])
            self._bucket = number, x, y
            while self._points and self._points[0][0] < x - self.trust.window / NS:
                del self._points[0]
            self._fit()

    def _fit(self) -> None:
        """Lay the line along the hull's edge below the middle; a short span counts for less."""
        points = [*self._points, self._bucket[1:]] if self._bucket else self._points
        if len(points) < 2:  # after a long silence: what was learned before it still holds
            self._offset = points[0][1] - self._skew * points[0][0]
            return
        span = points[-1][0] - points[0][0]
        middle = sum(x for x, _ in points) / len(points)
        slope = _edge(_lower_hull(points), middle) * span**2 / (span**2 + self.trust.prior**2)
        self._skew = min(max(slope, -self.trust.most), self.trust.most)
        self._offset = min(y - self._skew * x for x, y in points)

    def host(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the host times of sensor `times` by the present line, which steps when re-fitted.

        Raises:
            ValueError: Nothing has been observed yet.
        """
        if not self._frames:
            raise ValueError("no frame has been observed since the clock was reset")
        since = times - self._origin
        shift = self._offset * NS + self._skew * since.astype(np.float64)
        return times + self._base + np.rint(shift).astype(np.int64)


def _lower_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lower convex hull of points that ascend in x (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def _edge(hull: list[tuple[float, float]], middle: float) -> float:
    """Return the slope of the edge above `middle`."""
    for (x0, y0), (x1, y1) in pairwise(hull):
        if middle <= x1:
            return (y1 - y0) / (x1 - x0)
    return 0.0


class Steady:
    """Host times of one stream that follow the line of a `SensorClock` and never run backward.

    Once the clock has been reset, the next time has nothing to do with the last one.
    """

    def __init__(self, clock: SensorClock) -> None:
        self._clock = clock
        self._epoch = clock.epochs
        self._sensor: int | None = None
        self._host: int | None = None

    @property
    def last(self) -> int | None:
        """The last time given out, ns since the Unix epoch."""
        return self._host

    def host(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return ns since the Unix epoch, (samples,) int64, for ascending sensor `times`."""
        if not len(times):
            return times.astype(np.int64)
        if self._epoch != self._clock.epochs:
            self._epoch, self._sensor = self._clock.epochs, None
        target = self._clock.host(times)
        if self._host is not None:
            target = target + self._pending(times, int(target[0]))
        self._sensor, self._host = int(times[-1]), int(target[-1])
        return target

    def _pending(self, times: npt.NDArray[np.int64], target: int) -> npt.NDArray[np.int64]:
        """Return what is left, at each of `times`, of the step from the old line to the new one."""
        assert self._host is not None
        if self._sensor is None:
            since, behind = times - times[0], max(self._host + 1 - target, 0)
        else:
            since = times - self._sensor
            behind = self._host - int(self._clock.host(np.array([self._sensor]))[0])
        left: npt.NDArray[np.int64] = np.maximum(
            abs(behind) - np.rint(self._clock.trust.slew * since).astype(np.int64), 0
        )
        return left if behind > 0 else -left
