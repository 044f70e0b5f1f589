"""Sensor time to host time, by the lower envelope of arrival delays. No I/O.

A frame stamped T by the sensor arrives at T + offset + skew × T + delay, and delay never falls
below some smallest value. The closest line below all (T, arrival − T) is an edge of their lower
convex hull, which jitter above it cannot move (Moon, Skelly, Towsley, INFOCOM 1999,
doi:10.1109/INFCOM.1999.749287). Host times are therefore sensor time plus the smallest delay, which
a receiver cannot distinguish from the offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS


@dataclass(frozen=True, slots=True)
class ClockPrior:
    """Assumptions about a sensor's clock before it has been measured.

    Attributes:
        bucket: ns of sensor time of which only the frame with the smallest delay is kept.
        window: ns of sensor time over which the slope is fitted: long compared with jitter, short
            compared with temperature changes during a day.
        prior: Span of data, s, at which a measured slope weighs as much as the assumption of none.
        most: Largest skew accepted, s/s.
        slew: Rate at which `MonotonicTimes` follows a corrected line, s/s; small enough that time
            never runs backward.
    """

    bucket: int
    window: int
    prior: float
    most: float
    slew: float


CRYSTAL = ClockPrior(2 * NS, 600 * NS, 20.0, 2e-3, 0.005)
"""For a sensor that stamps its samples: no crystal is worse, a larger skew is a broken stamp."""

COUNT = ClockPrior(NS // 2, 120 * NS, 1.5, 0.25, 0.03)
"""For samples timed by counting, whose rate is only nominal: 30 ms of jitter in 1.5 s are 2 %,
about the error of such rates."""

JUMP = NS // 2
"""ns. An arrival so far below the line, or above it for `PATIENCE`, means that a clock was set."""

PATIENCE = 30 * NS


class SensorClock:
    """Running estimate of the offset and skew between a sensor's clock and the host's.

    Call `observe` for every frame as it arrives; `host` is available after the first.

    Args:
        prior: Assumptions about the sensor's clock.

    Attributes:
        prior: As given.
        epochs: Number of resets from outside.
    """

    def __init__(self, prior: ClockPrior = CRYSTAL) -> None:
        self.prior = prior
        self.epochs: int = -1
        self.reset()

    def reset(self) -> None:
        """Discard everything: the sensor's clock was set, or another sensor has connected."""
        self.epochs += 1
        self._forget()

    def _forget(self) -> None:
        self._origin = 0  # sensor time of the first frame
        self._base = 0  # its arrival minus its stamp
        self._points: list[tuple[float, float]] = []  # (s since origin, s of delay above base)
        self._bucket: tuple[int, float, float] | None = None  # number and lowest point so far
        self._offset = 0.0
        self._skew = 0.0
        self._excess = 0.0  # mean delay above the line, s
        self._frames = 0
        self._newest = -1.0  # s since origin
        self._late_since: float | None = None

    @property
    def known(self) -> bool:
        """Whether a frame has been observed since the last reset."""
        return self._frames > 0

    @property
    def span(self) -> float:
        """Seconds of data from which the slope is measured."""
        return self._newest - self._points[0][0] if self._points else 0.0

    @property
    def skew_ppm(self) -> float:
        """Excess of the host clock's rate over the sensor's, parts per million."""
        return self._skew * 1e6

    @property
    def error_ms(self) -> float:
        """Expected distance of the line from the true smallest delay, ms.

        The smallest of n delays with mean excess m exceeds the true minimum by about m / n.
        """
        return 1e3 * self._excess / max(min(self._frames, len(self._points) + 1), 1)

    def observe(self, sensor: int, arrival: int) -> None:
        """Update the estimate with one frame.

        Args:
            sensor: Stamp of the frame, ns on the sensor's clock.
            arrival: Time of receipt, ns since the Unix epoch on the host's clock.
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
        """Return whether a clock was set, as opposed to a frame that was merely delayed."""
        if above < JUMP / NS:
            self._late_since = None
            return above < -JUMP / NS
        self._late_since = x if self._late_since is None else self._late_since
        return x - self._late_since > PATIENCE / NS

    def _keep(self, x: float, y: float) -> None:
        number = int(x * NS) // self.prior.bucket
        if self._bucket is None:
            self._bucket = number, x, y
        elif number == self._bucket[0]:
            _, x0, y0 = self._bucket
            if y - self._skew * x < y0 - self._skew * x0:
                self._bucket = number, x, y
        else:
            self._points.append(self._bucket[1:])
            self._bucket = number, x, y
            while self._points and self._points[0][0] < x - self.prior.window / NS:
                del self._points[0]
            self._fit()

    def _fit(self) -> None:
        """Fit the line to the hull's edge below the middle; a short span carries less weight."""
        points = [*self._points, self._bucket[1:]] if self._bucket else self._points
        if len(points) < 2:  # after a long silence: the earlier slope still holds
            self._offset = points[0][1] - self._skew * points[0][0]
            return
        span = points[-1][0] - points[0][0]
        middle = sum(x for x, _ in points) / len(points)
        slope = _edge(_lower_hull(points), middle) * span**2 / (span**2 + self.prior.prior**2)
        self._skew = min(max(slope, -self.prior.most), self.prior.most)
        self._offset = min(y - self._skew * x for x, y in points)

    def host(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Convert sensor times by the current line, which steps whenever it is refitted.

        Args:
            times: (samples,) int64, ns on the sensor's clock.

        Returns:
            (samples,) int64, ns since the Unix epoch.

        Raises:
            ValueError: No frame has been observed yet.
        """
        if not self._frames:
            raise ValueError("no frame has been observed since the clock was reset")
        since = times - self._origin
        shift = self._offset * NS + self._skew * since.astype(np.float64)
        return times + self._base + np.rint(shift).astype(np.int64)


def _lower_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lower convex hull of points in ascending x (Andrew's monotone chain)."""
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
    """Return the slope of the edge at x = `middle`."""
    for (x0, y0), (x1, y1) in pairwise(hull):
        if middle <= x1:
            return (y1 - y0) / (x1 - x0)
    return 0.0


class MonotonicTimes:
    """Host times of one signal that follow the line of a `SensorClock` and never run backward.

    After a reset of the clock the line is taken over at once instead of being approached.
    """

    def __init__(self, clock: SensorClock) -> None:
        self._clock = clock
        self._epoch = clock.epochs
        self._sensor: int | None = None
        self._host: int | None = None

    @property
    def last(self) -> int | None:
        """The last time returned, ns since the Unix epoch; None before any."""
        return self._host

    def host(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Convert ascending sensor times.

        Args:
            times: (samples,) int64, ns on the sensor's clock.

        Returns:
            (samples,) int64, ns since the Unix epoch.
        """
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
        """Return the rest, at each of `times`, of the step from the old line to the new, ns."""
        assert self._host is not None
        if self._sensor is None:
            since, behind = times - times[0], max(self._host + 1 - target, 0)
        else:
            since = times - self._sensor
            behind = self._host - int(self._clock.host(np.array([self._sensor]))[0])
        left: npt.NDArray[np.int64] = np.maximum(
            abs(behind) - np.rint(self._clock.prior.slew * since).astype(np.int64), 0
        )
        return left if behind > 0 else -left
