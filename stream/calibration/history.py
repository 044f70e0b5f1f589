"""The level that follows from all of a wearer's readings, not from the newest alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from innpar.devices import NS
from innpar.models.calibration.calibrate import Affine, CuffCalibration
from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.process import (
    MOST,
    PastReading,
    WearerProcess,
    inputs,
)
from innpar.models.calibration.process_level import ProcessTable
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.stream.calibration.tracker import HYDROSTATIC
from innpar.stream.calibration.types import CuffReading

Floats = npt.NDArray[np.float64]
Wave = npt.NDArray[np.float32]

MEMORY = 30
"""Accepted windows over which the network's own pressures are averaged."""
SPACING = 1.0
"""s from one of them to the next, at least."""
_HEART_RATE = FEATURES.index("heart_rate")


class ReadingHistory:
    """Draws each window towards the process over the readings; see `WearerProcess`.

    Times are relative to the reading in force, so that a history outlasts a restart. Pressures of
    earlier readings are those at the height of the sensor at the reading in force.

    Args:
        table: The model's.
        rate: Of the windows, Hz.
        drop: Samples at either end of a window that do not count.
    """

    def __init__(self, table: ProcessTable, rate: float, drop: int) -> None:
        self._table, self._rate, self._drop = table, rate, drop
        self._alone: deque[Floats] = deque(maxlen=MEMORY)
        self._followed: CuffCalibration | None = None
        self._process: WearerProcess | None = None

    def forget(self) -> None:
        """Begin a new gap-free segment."""
        self._alone.clear()

    def push(self, alone: Wave, pulse: Floats) -> None:
        """Take an accepted window, reconstructed without a reading (window,), mmHg.

        Args:
            alone: The window.
            pulse: (len(FEATURES),) running median of the features.
        """
        self._alone.append(self._pressures([alone], float(pulse[_HEART_RATE]))[0])

    def taught(
        self,
        calibration: CuffCalibration,
        reading: CuffReading,
        alone: Sequence[Wave],
        former: CuffReading | None,
        before: CuffCalibration | None,
    ) -> CuffCalibration:
        """Return a calibration that has just taken effect, with its history.

        Args:
            calibration: With its maps and level.
            reading: Its reading.
            alone: Windows from before the reading, reconstructed without one, mmHg.
            former: The reading in force before it; None for the first.
            before: The calibration of that reading.
        """
        own = self._pressures(alone, float(calibration.at_cuff[_HEART_RATE]))
        x = inputs(np.median(own, axis=0)[None], calibration.at_cuff[None])[0]
        level = (reading.sbp + 2.0 * reading.dbp) / 3.0
        level = level if calibration.level is None else calibration.level
        pressures = np.array([reading.sbp, reading.dbp, level])
        new = PastReading(0.0, pressures, x, reading.noise)
        past: tuple[PastReading, ...] = ()
        if former is not None and before is not None:
            since = (reading.time - former.time) / NS
            rise = HYDROSTATIC * (_height(reading) - _height(former))
            past = tuple(
                replace(one, seconds=one.seconds - since, pressures=one.pressures + rise)
                for one in before.history
            )
        return replace(calibration, history=(*past, new)[-MOST:])

    def mapped(
        self, abp: Wave, calibration: CuffCalibration, pulse: Floats, age: float
    ) -> tuple[Wave, Floats] | None:
        """Return the window mapped to the level to publish, and half-widths (3,), mmHg.

        None while the process knows nothing of the present pulse, or of the readings.

        Args:
            abp: (window,) mmHg, corrected by the newest reading.
            calibration: Of the reading in force.
            pulse: (len(FEATURES),) running median of the features.
            age: Time since the reading in force, s.
        """
        if calibration is not self._followed:
            self._followed, history = calibration, calibration.history
            self._process = WearerProcess(self._table.prior, history) if history else None
        if self._process is None or not self._alone:
            return None
        x = inputs(np.median(np.stack(self._alone), axis=0)[None], pulse[None])
        mean, sd = self._process.at(x, np.array([age]))
        found = self._pressures([abp], float(pulse[_HEART_RATE]))
        wanted = self._table.level(found, mean)
        scale = (wanted[0, 0] - wanted[0, 1]) / max(found[0, 0] - found[0, 1], 1e-3)
        level = Affine(float(scale), float(wanted[0, 1] - scale * found[0, 1]))
        return level(abp).astype(np.float32), self._table.widen * sd[0]

    def _pressures(self, waves: Sequence[Wave], heart_rate: float) -> Floats:
        """Return SBP, DBP and MAP (n, 3) of windows, mmHg."""
        inner = np.stack(waves).astype(np.float64)[:, self._drop : len(waves[0]) - self._drop]
        return wave_pressures(inner, np.full(len(waves), heart_rate), self._rate)


def _height(reading: CuffReading) -> float:
    """Return the height of the sensor above the heart at a reading in force, cm."""
    return 0.0 if reading.remembered is None else reading.remembered.height
