"""The wearer's cuff reading, as the network is told of it: which pulse belonged to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.devices import NS
from innpar.models.calibration import calibrate
from innpar.models.calibration.context import CONTEXT, FEATURES, features
from innpar.models.manifest import RATE
from innpar.stream.calibration.types import CuffReading, Guidance, Question
from innpar.stream.results import CalibrationState, CalibrationStatus

_LOG_AMPLITUDE, _HEART_RATE = FEATURES.index("log_amplitude"), FEATURES.index("heart_rate")
MEMORY = 30
"""Accepted windows (a hop each) that describe the pulse at a cuff reading."""
ENOUGH = 8
"""Accepted windows without which a reading waits: one window may be a cough."""
ANCHORS = 8
"""Of those windows, the network is asked again about so many once it knows the reading."""
HYDROSTATIC = 0.77
"""mmHg a cm: what blood of 1.05 g/ml weighs, between the heart and a sensor above or below it."""
STALE_SECONDS = 4 * 3600
STALE_HEART_RATE = 35.0
STALE_LOG_AMPLITUDE = 1.8
"""Changes of heart rate (a minute) and of the pulse's amplitude (sixfold: another perfusion, or a
sensor that has moved) that two moments of a training record exceed once in a hundred times."""


@dataclass(slots=True)
class CalibrationTracker:
    """Follow what has changed since the last cuff reading.

    A reading takes effect with the first accepted window after it for which enough windows around
    it have been accepted.

    A sensor above the heart sees an artery whose pressure is lower by the weight of the blood in
    between, so ``lift = HYDROSTATIC * (height - height at the reading)`` brings a pressure back to
    the heart. The reading itself is taken at the heart, and the map to it has already absorbed the
    height of that moment; only a change since counts. Without a reading the other height is zero:
    in the recordings that the network was trained on hand and transducer lay level with the heart.

    Attributes:
        names: Entries of the context that the network takes, in its order; see `CONTEXT`.
        rate: Of the windows, Hz.
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
    _channel_at_cuff: str = field(init=False, default="")
    _reading: CuffReading | None = field(init=False, default=None)
    _calibration: calibrate.CuffCalibration | None = field(init=False, default=None)
    _pulse: npt.NDArray[np.float64] | None = field(init=False, default=None)
    _heights: list[tuple[int, float]] = field(init=False, default_factory=list)
    _height: float = field(init=False, default=0.0)
    _height_at_cuff: float = field(init=False, default=0.0)

    @property
    def waiting(self) -> tuple[CuffReading, ...]:
        """Readings that have not taken effect yet."""
        return tuple(self._waiting)

    def cuff(self, reading: CuffReading) -> None:
        """Take a reading; the pulse around it is what the windows just before and after show."""
        self._waiting.append(reading)

    def resume(
        self,
        reading: CuffReading,
        calibration: calibrate.CuffCalibration,
        height: float = 0.0,
        channel: str = "",
    ) -> None:
        """Go on with an earlier reading; height (cm) and channel are those when it was taken."""
        self._reading, self._calibration = reading, calibration
        self._height_at_cuff, self._channel_at_cuff = height, channel

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
        """Return what the network and its output's corrections need to know of a window.

        Args:
            time: Of the window's last sample, ns since the Unix epoch.
            conditioned: (window,) upright, in the sensor's unit.
            accepted: Whether its quality is sufficient.
            segment: A new one, after a gap, starts the memory of recent windows afresh.
            channel: Label of the sensor's channel; amplitudes of two channels do not compare.
        """
        if segment != self._segment:
            self._segment = segment
            self._recent.clear()
            self._windows.clear()
        self._channel = channel
        while self._heights and self._heights[0][0] <= time:
            _, self._height = self._heights.pop(0)
        now = features(conditioned[None], self.rate)
        if accepted:
            self._recent.append(now[0])
            self._windows.append(conditioned)
            self._pulse = np.median(np.stack(self._recent), axis=0)
        anchor: tuple[Question, ...] = ()
        due = [reading for reading in self._waiting if reading.time <= time]
        if due and accepted and len(self._recent) >= ENOUGH:
            self._waiting = deque(
                (reading for reading in self._waiting if reading.time > time), maxlen=16
            )
            anchor = self._take(max(due, key=lambda reading: reading.time))
        reading, calibration = self._reading, self._calibration
        lift = HYDROSTATIC * (self._height - self._height_at_cuff)
        if reading is None or calibration is None:
            return Guidance(None, CalibrationStatus(), self._pulse, None, lift=lift)
        age = (time - reading.time) / NS
        if age < 0:  # the clock was set back: how old the reading is cannot be told any more
            age = STALE_SECONDS + 1.0
        status = CalibrationStatus(self._state(age), age, reading.sbp, reading.dbp)
        told = self._told(calibration, now, age)[0]
        at_cuff = self._height_at_cuff, self._channel_at_cuff
        return Guidance(told, status, self._pulse, calibration, anchor, reading, lift, *at_cuff)

    def _take(self, reading: CuffReading) -> tuple[Question, ...]:
        """Let a reading take effect; return windows from before it, with its context."""
        assert self._pulse is not None
        self._reading, self._channel_at_cuff = reading, self._channel
        self._height_at_cuff = self._height
        self._calibration = calibrate.CuffCalibration(reading.sbp, reading.dbp, self._pulse)
        chosen = np.linspace(0, len(self._windows) - 1, ANCHORS).round().astype(int)
        told = self._told(self._calibration, np.stack(self._recent)[chosen], 0.0)
        return tuple(Question(self._windows[k], told[n]) for n, k in enumerate(chosen.tolist()))

    def _told(
        self, calibration: calibrate.CuffCalibration, now: npt.NDArray[np.float64], age: float
    ) -> Sequence[npt.NDArray[np.float32] | None]:
        """Return the network's context for each window with features `now` (n, K)."""
        if not self.names:
            return [None] * len(now)
        whole = calibration.context(now, age)
        return list(whole[:, [CONTEXT.index(name) for name in self.names]])

    def _state(self, age: float) -> CalibrationState:
        assert self._calibration is not None
        pulse = self._calibration.at_cuff if self._pulse is None else self._pulse
        change = np.abs(pulse - self._calibration.at_cuff)
        far = bool(change[_HEART_RATE] > STALE_HEART_RATE)
        far |= bool(change[_LOG_AMPLITUDE] > STALE_LOG_AMPLITUDE)
        other = self._channel_at_cuff not in ("", self._channel)
        return "stale" if far or other or age > STALE_SECONDS else "ok"
