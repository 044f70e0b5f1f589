"""The correction of the network's output by the cuff reading, and its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.models.calibration import calibrate
from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.tables import Tables
from innpar.models.predictor import Manifest
from innpar.stream.calibration.history import SPACING, ReadingHistory
from innpar.stream.calibration.tracker import KEPT
from innpar.stream.calibration.types import Guidance

Wave = npt.NDArray[np.float32]

_HEART_RATE = FEATURES.index("heart_rate")


class Corrector:
    """Draws each window towards the reading, smooths it, and estimates its interval.

    Without a reading the level is shrunk towards the population's mean; see `PopulationLevel`.

    Without calibration tables there are no intervals, and the output of a network that sees the
    reading passes unchanged; that of a network without a context is scaled and shifted to agree
    with the reading.

    Attributes:
        level: Probability that the true pressure lies within the interval.
        half_widths: (3,) SBP, DBP and MAP, mmHg, of the window pushed last; None while unknown.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._tables = Tables.of(manifest.calibration, manifest.intervals)
        self.level: float = self._tables.level if self._tables else 0.0
        self._rate, self._drop = manifest.rate, manifest.drop
        self._sees = manifest.context_entries > 0
        self._calibration: calibrate.CuffCalibration | None = None
        self._key: tuple[int, float, float] | None = None
        self._anchored: dict[tuple[int, float, float], calibrate.CuffCalibration] = {}
        self._smoother = calibrate.Smoother(self._tables.smooth_seconds if self._tables else 1.0)
        self._history: ReadingHistory | None = None
        if self._tables is not None and self._tables.process is not None and self._sees:
            self._history = ReadingHistory(self._tables.process, self._rate, self._drop)
        self._segment = self._index = self._taken_until = -1
        self.half_widths: npt.NDArray[np.float64] | None = None

    @property
    def calibration(self) -> calibrate.CuffCalibration | None:
        """The reading in force, with its maps."""
        return self._calibration

    def anchored(self, key: tuple[int, float, float]) -> calibrate.CuffCalibration | None:
        """Return the calibration by a reading that took effect here; None for any other."""
        return self._anchored.get(key)

    def push(
        self,
        abp: Wave,
        asides: Sequence[Wave],
        guidance: Guidance,
        *,
        accepted: bool,
        segment: int,
        index: int,
    ) -> Wave:
        """Return the window to publish, (window,) mmHg.

        Args:
            abp: (window,) mmHg, the network's output.
            asides: (window,) mmHg each, its output for `Prepared.asides`.
            guidance: The window's.
            accepted: Whether its quality is good enough.
            segment: Number of its gap-free segment.
            index: Of its first sample on the grid.
        """
        tables = self._tables
        if tables is None and self._sees:
            return abp
        anchor = len(guidance.anchor)
        key = None if guidance.reading is None else guidance.reading.key
        other, self._key = key != self._key, key
        if other:
            self._forget_withdrawn(guidance)
        if anchor and guidance.calibration is not None:
            rate = np.full(anchor, guidance.calibration.at_cuff[_HEART_RATE])
            alone = np.stack(asides[-anchor:])
            informed = np.stack(asides[1 : 1 + anchor]) if self._sees else alone
            self._calibration = guidance.calibration.anchored(
                informed,
                alone,
                rate,
                drop=self._drop,
                rate=self._rate,
                any_scale=not self._sees,
            )
            if self._history is not None:
                self._calibration = self._taught(self._calibration, guidance, alone)
            self._remember(self._calibration)
        elif guidance.calibration is not None and guidance.calibration.level is not None:
            self._calibration = guidance.calibration  # of an earlier run, anchored then
        elif other:  # the newest reading has been withdrawn
            self._calibration = None if key is None else self._anchored.get(key)
        if tables is None or not self._sees:
            return abp if self._calibration is None else self._calibration.uncalibrated_map(abp)
        if self._history is not None and segment != self._segment:
            self._history.forget()
            self._taken_until = index
        if anchor or other or segment != self._segment:
            self._smoother.forget()
            self._segment, self._index = segment, index
        if not accepted:
            return abp
        age = guidance.status.age_s or 0.0
        if self._history is not None and guidance.pulse is not None and index >= self._taken_until:
            self._taken_until = index + round(SPACING * self._rate)
            self._history.push(asides[0] if asides else abp, guidance.pulse)
        if self._calibration is not None and asides:
            abp = self._calibration.blended(abp, asides[0], age, tables)
        elapsed = (index - self._index) / self._rate
        abp, self._index = self._smoother.push(abp, elapsed), index
        if self._calibration is None and tables.population is not None:
            beat_rate = 60.0 if guidance.pulse is None else float(guidance.pulse[_HEART_RATE])
            abp = tables.population.wave(abp, beat_rate, self._rate)
        if guidance.pulse is not None:
            level = float(abp.mean())
            self.half_widths = calibrate.half_widths(
                tables, self._calibration, guidance.pulse, age, level
            )
        return self._by_all_readings(abp, guidance, age)

    def _by_all_readings(self, abp: Wave, guidance: Guidance, age: float) -> Wave:
        """Return the window at the level that follows from all readings, if the model has one."""
        if self._history is None or self._calibration is None or guidance.pulse is None:
            return abp
        found = self._history.mapped(abp, self._calibration, guidance.pulse, age)
        if found is None:
            return abp
        abp, self.half_widths = found
        return abp

    def _taught(
        self,
        calibration: calibrate.CuffCalibration,
        guidance: Guidance,
        alone: npt.NDArray[np.float32],
    ) -> calibrate.CuffCalibration:
        """Return the calibration of a reading that has just taken effect, with its history."""
        assert self._history is not None
        assert guidance.reading is not None
        former = guidance.former
        before = None if former is None else self._anchored.get(former.key)
        if before is None and former is not None and former.remembered is not None:
            before = former.remembered.calibration  # of an earlier run
        return self._history.taught(calibration, guidance.reading, list(alone), former, before)

    def _forget_withdrawn(self, guidance: Guidance) -> None:
        """Drop calibrations of withdrawn readings, which would displace those still in force."""
        newest = guidance.former if guidance.anchor else guidance.reading
        while self._anchored:
            last = next(reversed(self._anchored))
            if newest is not None and (last == newest.key or last[0] < newest.time):
                return
            del self._anchored[last]

    def _remember(self, calibration: calibrate.CuffCalibration) -> None:
        """Keep a calibration for the case that the readings after it are withdrawn."""
        if self._key is not None:
            self._anchored[self._key] = calibration
            while len(self._anchored) > KEPT:
                del self._anchored[next(iter(self._anchored))]
