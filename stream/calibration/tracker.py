"""The cuff reading in force, the pulse that belonged to it, and the network's context."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from innpar.devices import NS
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
    it have been accepted. Until then it waits here and not ahead of the windower, for the wait is
    for windows: how many it takes depends on the quality of each.

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
    _reading: CuffReading | None = field(init=False, default=None)
    _pulse: npt.NDArray[np.float64] | None = field(init=False, default=None)
    _heights: list[tuple[int, float]] = field(init=False, default_factory=list)
    _height: float = field(init=False, default=0.0)

    @property
    def waiting(self) -> tuple[CuffReading, ...]:
        """Readings that have not taken effect yet."""
        return tuple(self._waiting)

    def cuff(self, reading: CuffReading) -> None:
        """Take a reading. A remembered one is in force at once; one just taken waits for the
        windows around it, which show its pulse."""
        if reading.remembered is not None:
            self._reading = reading
        else:
            self._waiting.append(reading)

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
        reading = self._reading
        stored = reading.remembered if reading is not None else None
        lift = HYDROSTATIC * (self._height - (stored.height if stored is not None else 0.0))
        if reading is None or stored is None:
            return Guidance(None, CalibrationStatus(), self._pulse, lift=lift)
        age = (time - reading.time) / NS
        if age < 0:  # the clock was set back, and the reading's age is unknown
            age = STALE_SECONDS + 1.0
        status = CalibrationStatus(self._state(stored, age), age, reading.sbp, reading.dbp)
        context = self._contexts(stored.calibration, now, age)[0]
        return Guidance(context, status, self._pulse, reading, anchor, lift)

    def _take(self, reading: CuffReading) -> tuple[Question, ...]:
        """Let a reading take effect; return windows from before it, with its context."""
        assert self._pulse is not None
        calibration = calibrate.CuffCalibration(reading.sbp, reading.dbp, self._pulse)
        stored = StoredCalibration(calibration, self._height, self._channel)
        self._reading = replace(reading, remembered=stored)
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
