"""Calibration of the network's output with a cuff reading, and its prediction intervals.

Corrections around the network, each chosen by cross-validation over the training subjects (with
networks trained without them). Regressions on the changes since the reading, stacked on the
network, were no better than the network alone.

- An affine map makes the reconstruction at the reading agree with the reading; its weight decays
  with the time since. The network's error at the reading predicts its error shortly after, but not
  an hour later.
- The network runs twice, with the reading as context ("calibrated" wave) and without
  ("uncalibrated" wave). Their errors differ: the first knows the wearer, the second cannot confuse
  one wearer with another. Published is a weighted mean of the calibrated wave, of the uncalibrated
  wave mapped to the reading, and of the unchanged uncalibrated wave; the last two gain weight as
  the reading ages.
- Level and pulse height are averaged over some seconds of windows. Consecutive windows overlap by
  four fifths, so most of their difference is noise.
- Interval half-widths are linear in the time and in the changes since the reading, scaled to the
  target coverage of an unseen subject's beats (split-conformal over subjects; for scaling by
  difficulty see Romano et al., Conformalized quantile regression, NeurIPS 2019, arXiv 1905.03222).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES, context, standardised
from innpar.models.calibration.process import PastReading
from innpar.models.calibration.tables import Tables
from innpar.models.calibration.wave_pressures import wave_pressures

Floats = npt.NDArray[np.float64]
Waves = npt.NDArray[np.float32]

_HEART_RATE = FEATURES.index("heart_rate")
_SHAPE = slice(FEATURES.index("skewness"), None)
_LEAST_PULSE = 10.0  # mmHg; a flatter reconstruction does not determine the scale
_SCALES = (0.5, 2.0)
_LEAST = 1e-3  # lower bound of the pulse height where any scale is possible, unit of the waves


@dataclasses.dataclass(frozen=True, slots=True)
class Affine:
    """Affine map ``scale * wave + offset``; `offset` in mmHg."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, wave: Waves) -> Waves:
        """Map a wave of any shape to mmHg."""
        return np.asarray(self.scale * wave + self.offset)

    @classmethod
    def to_reading(
        cls,
        sbp: float,
        dbp: float,
        waves: Floats,
        heart_rate: Floats,
        rate: float,
        *,
        any_scale: bool = False,
    ) -> Affine:
        """Return the map that makes waves from before a reading agree with it.

        Args:
            sbp: Systolic reading, mmHg.
            dbp: Diastolic reading, mmHg.
            waves: (n, samples) mmHg, without the samples that `drop` excludes.
            heart_rate: (n,) per minute.
            rate: Sampling rate, Hz.
            any_scale: The waves have no unit or an uncertain one, so any scale is accepted;
                otherwise the scale is limited to 0.5 … 2.
        """
        high, low, _ = np.median(wave_pressures(waves, heart_rate, rate), axis=0)
        if any_scale:
            scale = (sbp - dbp) / max(float(high - low), _LEAST)
        else:
            scale = (sbp - dbp) / max(float(high - low), _LEAST_PULSE)
            scale = min(max(scale, _SCALES[0]), _SCALES[1])
        return cls(scale, dbp - scale * float(low))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CuffCalibration:
    """A cuff reading, the pulse at that time, and the maps to the reading.

    Attributes:
        sbp: Systolic reading, mmHg.
        dbp: Diastolic reading, mmHg.
        at_cuff: (len(FEATURES),) median features over the half minute before the reading.
        calibrated_map: Map of the calibrated wave (network with the reading) to the reading.
        uncalibrated_map: Map of the uncalibrated wave (network without the reading) to the reading.
        level: Mean pressure at the reading, mmHg; None until `anchored`.
        history: The readings of the wearer in order of time, this one last, with times relative to
            it; empty for a model without a process.
    """

    sbp: float
    dbp: float
    at_cuff: Floats
    calibrated_map: Affine = Affine()
    uncalibrated_map: Affine = Affine()
    level: float | None = None
    history: tuple[PastReading, ...] = ()

    def context(self, now: Floats, seconds: float) -> npt.NDArray[np.float32]:
        """Return the network's context (n, len(CONTEXT)).

        Args:
            now: (n, len(FEATURES)) features of the windows.
            seconds: Time since the reading, s.
        """
        return context(now, self.at_cuff, self.sbp, self.dbp, seconds)

    def anchored(
        self,
        calibrated: Waves,
        uncalibrated: Waves,
        heart_rate: Floats,
        *,
        drop: int,
        rate: float,
        any_scale: bool = False,
    ) -> CuffCalibration:
        """Return this calibration with its maps and level.

        Args:
            calibrated: (n, window) mmHg, reconstructions of the half minute before the reading
                under `context(..., 0)`.
            uncalibrated: (n, window) mmHg, reconstructions of the same windows without context.
            heart_rate: (n,) per minute.
            drop: Samples excluded at either end of a wave.
            rate: Sampling rate, Hz.
            any_scale: See `Affine.to_reading`.
        """
        inner = slice(drop, calibrated.shape[1] - drop)
        exact = [
            np.asarray(waves, dtype=np.float64)[:, inner] for waves in (calibrated, uncalibrated)
        ]
        maps = [
            Affine.to_reading(self.sbp, self.dbp, waves, heart_rate, rate, any_scale=any_scale)
            for waves in exact
        ]
        level = maps[0].scale * float(np.median(exact[0].mean(axis=1))) + maps[0].offset
        return dataclasses.replace(
            self, calibrated_map=maps[0], uncalibrated_map=maps[1], level=level
        )

    def blended(
        self, calibrated: Waves, uncalibrated: Waves, seconds: float, tables: Tables
    ) -> Waves:
        """Return the wave to publish (..., samples), mmHg.

        Args:
            calibrated: (..., samples) mmHg, reconstruction under `context`.
            uncalibrated: (..., samples) mmHg, reconstruction without context.
            seconds: Time since the reading, s.
            tables: The model's tables.
        """
        share = tables.pull * math.exp(-max(seconds, 0.0) / tables.fade_seconds)
        pulled = calibrated + share * (self.calibrated_map(calibrated) - calibrated)
        mapped, plain = tables.blend.at(seconds)
        mean = (
            (1.0 - mapped - plain) * pulled
            + mapped * self.uncalibrated_map(uncalibrated)
            + plain * uncalibrated
        )
        return np.asarray(mean, dtype=np.float32)


def half_widths(
    tables: Tables, calibration: CuffCalibration | None, now: Floats, seconds: float, level: float
) -> Floats:
    """Return the half-widths (3,) of the intervals of SBP, DBP and MAP, mmHg.

    Args:
        tables: The model's tables.
        calibration: The reading in use; None without one.
        now: (len(FEATURES),) features of the window, or a running median of recent windows.
        seconds: Time since the reading, s.
        level: Mean of the published wave, mmHg.
    """
    if calibration is None:
        return tables.uncalibrated
    change = standardised(now - calibration.at_cuff)
    moved = 0.0 if calibration.level is None else abs(level - calibration.level)
    terms = difficulty(change[None], np.array([seconds]), np.array([moved]))[0]
    return np.asarray(tables.calibrated @ terms)


def difficulty(change: Floats, seconds: Floats, moved: Floats) -> Floats:
    """Return the terms that widen an interval, (n, len(DIFFICULTY)).

    Args:
        change: (n, len(FEATURES)) change of the features since the reading, in training spreads.
        seconds: (n,) time since the reading, s.
        moved: (n,) change of the mean pressure since the reading, mmHg.
    """
    return np.stack(
        (
            np.ones(len(change)),
            np.log1p(np.maximum(seconds, 0.0) / 360.0),
            np.abs(change[:, _HEART_RATE]),
            np.sqrt((change[:, _SHAPE] ** 2).mean(axis=1)),
            np.abs(moved) / 10.0,
        ),
        axis=1,
    )


class Smoother:
    """Running mean of level and pulse height over successive windows.

    Call `forget` after a gap and after a new reading.

    Args:
        seconds: Time constant, s.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._level: float | None = None
        self._height = 0.0

    def forget(self) -> None:
        """Start afresh with the next window."""
        self._level = None

    def push(self, wave: Waves, seconds: float) -> Waves:
        """Return the wave (window,), mmHg, shifted and scaled to the running level and height.

        Args:
            wave: (window,) mmHg.
            seconds: Time since the window before, s.
        """
        level, height = float(wave.mean()), max(float(wave.std()), 1e-3)
        if self._level is None:
            self._level, self._height = level, height
        else:
            new = 1.0 - math.exp(-seconds / self._seconds)
            self._level += new * (level - self._level)
            self._height += new * (height - self._height)
        return np.asarray(self._level + (wave - level) * (self._height / height), dtype=np.float32)
