"""The cuff reading in force, the pulse that belonged to it, and the network's context."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Event
from innpar.models.calibration import calibrate
from innpar.models.calibration.context import CONTEXT, FEATURES, features
from innpar.models.manifest import RATE
from innpar.stream.calibration.types import CuffReading, Guidance, Question, StoredCalibration
from innpar.stream.results import CalibrationState, CalibrationStatus

_LOG_AMPLITUDE, _HEART_RATE = FEATURES.index("log_amplitude"), FEATURES.index("heart_rate")
MEMORY = 30
"""Accepted windows (a hop each) that describe the pulse at a cuff reading."""
ENOUGH = 8
"""Accepted windows without which a reading waits: a single one may be a cough."""
ANCHORS = 8
"""Of those windows, so many go through the network again with the context of the reading."""
KEPT = 4
"""Readings in force one after another, of which the newest can be withdrawn."""
HYDROSTATIC = 0.77
"""mmHg per cm: the weight of blood of 1.05 g/ml between the heart and a sensor above or below."""
STALE_SECONDS = 4 * 3600
STALE_HEART_RATE = 35.0
STALE_LOG_AMPLITUDE = 1.8
"""Changes of heart rate (a minute) and of the pulse's amplitude (sixfold: another perfusion, or a
sensor that has moved) that two moments of a training record exceed once in a hundred times."""


@dataclass(slots=True)
class CalibrationTracker:
    """Tracks the pulse, and its change since the cuff reading in force.

    A reading takes effect with the first accepted window after it for which enough windows around
    it have been accepted, one reading a window. Until then it waits here and not ahead of the
    windower, for the wait is for windows: how many it takes depends on the quality of each.

    The newest reading is in force, whenever it arrives: one that is older than another does not
    count. So the readings that count come in the order of their times, and when the newest is
    withdrawn, the one before it is in force again as it was.

    A sensor above the heart sees an artery whose pressure is lower by the weight of the blood in
    between, so ``lift = HYDROSTATIC * (height - height at the reading)`` brings a pressure back to
    the heart. The reading itself is taken at the heart, and the map to it has already absorbed the
    height of that moment; only a change since counts. Without a reading the other height is zero:
    in the recordings that the network was trained on hand and transducer lay level with the heart.

    Attributes:
        names: Entries of the context that the network takes, in its order; see `CONTEXT`.
        rate: Of the windows, Hz.
        forgot: Whether readings older than those in `effective` have been in force before them.
    """

    names: Sequence[str] = CONTEXT
    rate: float = RATE
    _recent: deque[npt.NDArray[np.float64]] = field(
        init=False, default_factory=lambda: deque(maxlen=MEMORY)
    )
    _windows: deque[npt.NDArray[np.float32]] = field(
        init=False, default_factory=lambda: deque(maxlen=MEMORY)
    )
    _waiting: deque[CuffReading] = field(init=False, default_factory=lambda: deque(maxlen=16))
    _segment: int = field(init=False, default=-1)
    _channel: str = field(init=False, default="")
    _effective: list[CuffReading] = field(init=False, default_factory=list)
    forgot: bool = field(init=False, default=False)
    _pulse: npt.NDArray[np.float64] | None = field(init=False, default=None)
    _now: npt.NDArray[np.float64] = field(init=False)
    _context: tuple[CuffReading, npt.NDArray[np.float32] | None] | None = field(
        init=False, default=None
    )
    _heights: list[tuple[int, float]] = field(init=False, default_factory=list)
    _height: float = field(init=False, default=0.0)

    @property
    def waiting(self) -> tuple[CuffReading, ...]:
        """Readings that have not taken effect yet."""
        return tuple(self._waiting)

    @property
    def effective(self) -> tuple[CuffReading, ...]:
        """The reading in force, last, and those before it."""
        return tuple(self._effective)

    def cuff(self, reading: CuffReading) -> bool:
        """Take a reading; return whether it counts, which an older one than another does not.

        A remembered one is in force at once; one just taken waits for the windows around it,
        which show its pulse.
        """
        if reading.remembered is not None:
            if any(one.is_same(reading) for one in self._effective):
                return True  # repeated for a recording that begins
            known = [*self._effective]
        else:
            known = [*self._effective, *self._waiting]
        if known and reading.time < known[-1].time:
            return False
        if reading.remembered is not None:
            self._keep(reading)
        else:
            self._waiting.append(reading)
        return True

    def undo(self, event: Event) -> None:
        """Withdraw the newest reading that a ``cuff_undone`` event names."""
        for readings in (self._waiting, self._effective):
            for reading in reversed(readings):
                if reading.is_undone_by(event):
                    readings.remove(reading)
                    self.forgot &= bool(self._effective)
                    return

    def _keep(self, reading: CuffReading) -> None:
        self._effective.append(reading)
        self.forgot |= len(self._effective) > KEPT
        del self._effective[:-KEPT]

    def posture(self, time: int, height: float) -> None:
        """Take the sensor's height above the heart, cm, from a time in ns since the Unix epoch."""
        self._heights.append((time, height))

    def push(
        self,
        time: int,
        conditioned: npt.NDArray[np.float32],
        accepted: bool,
        segment: int = 0,
        channel: str = "",
    ) -> Guidance:
        """Return the state of the calibration for a window.

        Args:
            time: Of the window's last sample, ns since the Unix epoch.
            conditioned: (window,) upright, in the sensor's unit.
            accepted: Whether its quality is sufficient.
            segment: Number of the gap-free segment; a new one clears the memory of recent windows.
            channel: Label of the sensor's channel; amplitudes of two channels are not comparable.
        """
        if segment != self._segment:
            self._segment = segment
            self._recent.clear()
            self._windows.clear()
        self._channel = channel
        self._raise(time)
        now = self._now = features(conditioned[None], self.rate)
        self._context = None
        if accepted:
            self._recent.append(now[0])
            self._windows.append(conditioned)
            self._pulse = _median(np.stack(self._recent))
        anchor: tuple[Question, ...] = ()
        due = bool(self._waiting) and self._waiting[0].time <= time
        if due and accepted and len(self._recent) >= ENOUGH:
            anchor = self._take(self._waiting.popleft())
        return self._guidance(time, anchor)

    def between(self, time: int) -> Guidance:
        """Return the state for a window; pulse and context are those of the one pushed last.

        Args:
            time: Of the window's last sample, ns since the Unix epoch.
        """
        self._raise(time)
        return self._guidance(time)

    def _raise(self, time: int) -> None:
        """Take the heights of the sensor up to a time, ns since the Unix epoch."""
        while self._heights and self._heights[0][0] <= time:
            _, self._height = self._heights.pop(0)

    def _guidance(self, time: int, anchor: tuple[Question, ...] = ()) -> Guidance:
        reading = self._effective[-1] if self._effective else None
        stored = reading.remembered if reading is not None else None
        lift = HYDROSTATIC * (self._height - (stored.height if stored is not None else 0.0))
        if reading is None or stored is None:
            return Guidance(None, CalibrationStatus(), self._pulse, lift=lift)
        age = (time - reading.time) / NS
        if age < 0:  # the clock was set back, and the reading's age is unknown
            age = STALE_SECONDS + 1.0
        status = CalibrationStatus(self._state(stored, age), age, reading.sbp, reading.dbp)
        if self._context is None or self._context[0] is not reading:
            self._context = reading, self._contexts(stored.calibration, self._now, age)[0]
        context = self._context[1]
        former = self._effective[-2] if len(self._effective) > 1 else None
        return Guidance(context, status, self._pulse, reading, anchor, lift, former)

    def _take(self, reading: CuffReading) -> tuple[Question, ...]:
        """Let a reading take effect; return windows from before it, with its context."""
        assert self._pulse is not None
        calibration = calibrate.CuffCalibration(reading.sbp, reading.dbp, self._pulse)
        stored = StoredCalibration(calibration, self._height, self._channel)
        self._keep(replace(reading, remembered=stored))
        chosen = np.linspace(0, len(self._windows) - 1, ANCHORS).round().astype(int)
        contexts = self._contexts(calibration, np.stack(self._recent)[chosen], 0.0)
        return tuple(Question(self._windows[k], contexts[n]) for n, k in enumerate(chosen.tolist()))

    def _contexts(
        self, calibration: calibrate.CuffCalibration, now: npt.NDArray[np.float64], age: float
    ) -> Sequence[npt.NDArray[np.float32] | None]:
        """Return the network's context for each window with features `now` (n, K)."""
        if not self.names:
            return [None] * len(now)
        whole = calibration.context(now, age)
        return list(whole[:, [CONTEXT.index(name) for name in self.names]])

    def _state(self, stored: StoredCalibration, age: float) -> CalibrationState:
        at_cuff = stored.calibration.at_cuff
        change = np.abs((at_cuff if self._pulse is None else self._pulse) - at_cuff)
        far = bool(change[_HEART_RATE] > STALE_HEART_RATE)
        far |= bool(change[_LOG_AMPLITUDE] > STALE_LOG_AMPLITUDE)
        other = stored.channel not in ("", self._channel)
        return "stale" if far or other or age > STALE_SECONDS else "ok"


def _median(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the median of each column, as `np.median` does, of finite values and faster."""
    ordered, half = np.sort(rows, axis=0), len(rows) // 2
    if len(rows) % 2:
        return np.asarray(ordered[half])
    return np.asarray((ordered[half - 1] + ordered[half]) / 2.0)
