"""The wearer's cuff reading, as the network is told of it: which pulse belonged to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..devices import NS
from ..models.context import context, features
from .estimate import CalibrationState, CalibrationStatus

MEMORY = 30
"""Accepted windows (a hop each) that describe the pulse at a cuff reading."""
ENOUGH = 8
"""Accepted windows without which a reading waits: one window may be a cough."""
STALE_SECONDS = 4 * 3600
STALE_HEART_RATE = 35.0
"""Change of heart rate, beats a minute, beyond what the training records show within a case."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A cuff reading.

    Attributes:
        time: ns since the Unix epoch, on the device's time axis.
        sbp: mmHg.
        dbp: mmHg.
    """

    time: int
    sbp: float
    dbp: float

    def __post_init__(self) -> None:
        if not (25 <= self.dbp < self.sbp <= 280):
            raise ValueError(
                f"a cuff reading is SBP/DBP in mmHg, such as 128/79, not {self.sbp:g}/{self.dbp:g}"
            )


@dataclass(frozen=True, slots=True)
class Cuff:
    """A cuff reading given before the run.

    Attributes:
        sbp: mmHg.
        dbp: mmHg.
        device: Id of the wearer; None for whoever there is.
        seconds: Of signal after the device's first sample.
    """

    sbp: float
    dbp: float
    device: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        Reading(0, self.sbp, self.dbp)


@dataclass(slots=True)
class Calibration:
    """Follow what has changed since the last cuff reading.

    A reading takes effect with the first accepted window after it for which enough windows around
    it have been accepted.
    """

    _recent: deque[npt.NDArray[np.float64]] = field(
        init=False, default_factory=lambda: deque(maxlen=MEMORY)
    )
    _waiting: Reading | None = field(init=False, default=None)
    _reading: Reading | None = field(init=False, default=None)
    _pulse: npt.NDArray[np.float64] | None = field(init=False, default=None)
    _heart_rate: float = field(init=False, default=float("nan"))

    def cuff(self, reading: Reading) -> None:
        """Take a reading; the pulse around it is what the windows just before and after show."""
        self._waiting = reading

    def push(
        self, time: int, conditioned: npt.NDArray[np.float32], accepted: bool
    ) -> tuple[npt.NDArray[np.float32] | None, CalibrationStatus]:
        """Return the network's context for a window, and the state to publish with it.

        Args:
            time: Of the window's last sample, ns since the Unix epoch.
            conditioned: (window,) upright, in the sensor's unit.
            accepted: Whether its quality is sufficient.

        Returns:
            (len(CONTEXT),) float32, or None while there is no reading.
        """
        now = features(conditioned[None])
        if accepted:
            self._recent.append(now[0])
            self._heart_rate = float(np.median([row[1] for row in self._recent]))
        if self._waiting is not None and accepted and len(self._recent) >= ENOUGH:
            self._reading, self._waiting = self._waiting, None
            self._pulse = np.median(np.stack(self._recent), axis=0)
        if self._reading is None or self._pulse is None:
            return None, CalibrationStatus()
        age = max(0.0, (time - self._reading.time) / NS)
        told = context(now, self._pulse, self._reading.sbp, self._reading.dbp, age)[0]
        return told, CalibrationStatus(self._state(age), age, self._reading.sbp, self._reading.dbp)

    def _state(self, age: float) -> CalibrationState:
        assert self._pulse is not None
        far = abs(self._heart_rate - float(self._pulse[1])) > STALE_HEART_RATE
        return "stale" if far or age > STALE_SECONDS else "ok"
