"""From a cuff reading to pressures that agree with it, and how far they may be off.

Small things around the network, each chosen by cross-validation over the training subjects
(networks trained without them). Regressions on the changes since the reading, stacked on the
network, were tried as well and lost to it: it has learnt what they know.

- The affine map that makes the reconstruction at the reading agree with it, fading with the time
  since: the network's own error at the reading is the best guess of its error shortly after, and no
  guess an hour later.
- The network is asked twice, once told of the reading and once not. Their errors differ: told, it
  knows the wearer; alone, it cannot mistake one wearer for another. What is published is a weighted
  mean of the told wave, of the wave made alone mapped to the reading, and of that wave as it is,
  the latter two the more, the older the reading.
- Level and pulse height of neighbouring windows are averaged over some seconds; what differs
  between windows that overlap by four fifths is mostly noise.
- Half-widths of the intervals: linear in the time since the reading and in what has changed since,
  scaled so that they cover the wanted share of an unseen subject's beats (split-conformal over
  subjects; Romano et al., Conformalized quantile regression, 2019, arXiv 1905.03222, for scaling by
  difficulty).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES, RATE, context, standardised
from innpar.models.errors import ModelError

Floats = npt.NDArray[np.float64]
Waves = npt.NDArray[np.float32]

PRESSURES = ("sbp", "dbp", "map")
DIFFICULTY = ("one", "log_time", "heart_rate", "shape", "level")
_HEART_RATE = FEATURES.index("heart_rate")
_SHAPE = slice(FEATURES.index("skewness"), None)
_LEAST_PULSE = 10.0  # mmHg; a flatter reconstruction says nothing of the scale
_SCALES = (0.5, 2.0)
_LEAST = 1e-3  # the same where any scale may be right, in the waves' unit


@dataclasses.dataclass(frozen=True, slots=True)
class Blend:
    """Weights of the waves that the network makes alone; the told one has the rest.

    Attributes:
        mapped: Of the wave mapped to the reading, right after it and long after it.
        plain: Of the wave as it is, likewise.
        seconds: Time in which the first weights have gone to 1/e of the way to the second.
    """

    mapped: tuple[float, float]
    plain: tuple[float, float]
    seconds: float

    def at(self, seconds: float) -> tuple[float, float]:
        """Return the weights of the mapped and the plain wave so long after the reading."""
        fresh = math.exp(-max(seconds, 0.0) / self.seconds)
        (mapped, mapped_later), (plain, plain_later) = self.mapped, self.plain
        return (
            mapped_later + (mapped - mapped_later) * fresh,
            plain_later + (plain - plain_later) * fresh,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Tables:
    """What the manifest holds.

    Attributes:
        pull: Share of the reading's affine map right after it, 0 to 1.
        fade_seconds: Time in which that share falls to 1/e.
        blend: What the wave that the network makes without the reading counts.
        smooth_seconds: Time constant over which level and pulse height are averaged.
        level: Share of beats that the intervals are to cover.
        calibrated: (3, len(DIFFICULTY)) mmHg; half-widths of SBP, DBP, MAP.
        uncalibrated: (3,) mmHg.
    """

    pull: float
    fade_seconds: float
    blend: Blend
    smooth_seconds: float
    level: float
    calibrated: Floats
    uncalibrated: Floats

    @classmethod
    def of(cls, calibration: Mapping[str, Any], intervals: Mapping[str, Any]) -> Tables | None:
        """Read a manifest's `calibration` and `intervals`; None where they are empty.

        Raises:
            ModelError: They are not as this version writes them.
        """
        if not calibration or not intervals:
            return None
        try:
            if tuple(intervals["difficulty"]) != DIFFICULTY:
                raise ValueError("another measure of difficulty")
            if not 0.0 < float(intervals["level"]) < 1.0:
                raise ValueError(f"a level of {intervals['level']}")
            tables = cls(
                float(calibration["pull"]),
                float(calibration["fade_seconds"]),
                _blend(calibration["blend"]),
                float(calibration["smooth_seconds"]),
                float(intervals["level"]),
                np.array([intervals["calibrated"][name] for name in PRESSURES], dtype=np.float64),
                np.array([intervals["uncalibrated"][name] for name in PRESSURES], dtype=np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's calibration tables are unusable: {error}") from None
        if tables.calibrated.shape != (3, len(DIFFICULTY)):
            raise ModelError("the model's interval tables have another shape; export it again")
        return tables


def _blend(table: Mapping[str, Any]) -> Blend:
    """Read a manifest's `blend`; raises KeyError, TypeError or ValueError."""
    (mapped, mapped_later), (plain, plain_later) = table["mapped"], table["plain"]
    return Blend(
        (float(mapped), float(mapped_later)),
        (float(plain), float(plain_later)),
        float(table["seconds"]),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Affine:
    """``scale * wave + offset``, mmHg."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, wave: Waves) -> Waves:
        """Map a wave of any shape."""
        return np.asarray(self.scale * wave + self.offset)

    @classmethod
    def to_reading(
        cls, sbp: float, dbp: float, waves: Floats, heart_rate: Floats, *, any_scale: bool = False
    ) -> Affine:
        """Return the map by which waves from before a reading agree with it.

        Args:
            sbp: Reading, mmHg.
            dbp: Reading, mmHg.
            waves: (n, samples) mmHg, the exact part of each.
            heart_rate: (n,) a minute.
            any_scale: The waves' scale is guessed, or they have no unit yet; else a map that
                scales by far more or less than one is not believed.
        """
        from innpar.models.calibration.wave_pressures import wave_pressures

        high, low, _ = np.median(wave_pressures(waves, heart_rate, RATE), axis=0)
        if any_scale:
            scale = (sbp - dbp) / max(float(high - low), _LEAST)
        else:
            scale = (sbp - dbp) / max(float(high - low), _LEAST_PULSE)
            scale = min(max(scale, _SCALES[0]), _SCALES[1])
        return cls(scale, dbp - scale * float(low))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CuffCalibration:
    """One cuff reading, and the pulse at that time.

    Attributes:
        sbp: mmHg.
        dbp: mmHg.
        at_cuff: (len(FEATURES),) medians over the half minute before the reading.
        told: Maps what the network makes under the reading to it.
        alone: Maps what it makes without it.
        level: Mean pressure at the reading, mmHg, None until `anchored`.
    """

    sbp: float
    dbp: float
    at_cuff: Floats
    told: Affine = Affine()
    alone: Affine = Affine()
    level: float | None = None

    def context(self, now: Floats, seconds: float) -> npt.NDArray[np.float32]:
        """Return the network's context (n, len(CONTEXT)) for windows with features `now` (n, K)."""
        return context(now, self.at_cuff, self.sbp, self.dbp, seconds)

    def anchored(
        self,
        told: Waves,
        alone: Waves,
        heart_rate: Floats,
        drop: int,
        *,
        any_scale: bool = False,
    ) -> CuffCalibration:
        """Return this calibration with its maps.

        Args:
            told: (n, window) mmHg, what the network makes of the half minute before the reading
                under `context(..., 0)`.
            alone: (n, window) mmHg, what it makes of it without a context.
            heart_rate: (n,) a minute.
            drop: Samples at either end of a wave that are not exact.
            any_scale: As of `Affine.to_reading`.
        """
        inner = slice(drop, told.shape[1] - drop)
        exact = [np.asarray(waves, dtype=np.float64)[:, inner] for waves in (told, alone)]
        maps = [
            Affine.to_reading(self.sbp, self.dbp, waves, heart_rate, any_scale=any_scale)
            for waves in exact
        ]
        level = maps[0].scale * float(np.median(exact[0].mean(axis=1))) + maps[0].offset
        return dataclasses.replace(self, told=maps[0], alone=maps[1], level=level)

    def blended(self, told: Waves, alone: Waves, seconds: float, tables: Tables) -> Waves:
        """Return the wave to publish (..., samples), mmHg, so long after the reading.

        Args:
            told: What the network makes under `context`, mmHg.
            alone: What it makes without, mmHg.
            seconds: Since the reading.
            tables: Of the model.
        """
        share = tables.pull * math.exp(-max(seconds, 0.0) / tables.fade_seconds)
        pulled = told + share * (self.told(told) - told)
        mapped, plain = tables.blend.at(seconds)
        mean = (1.0 - mapped - plain) * pulled + mapped * self.alone(alone) + plain * alone
        return np.asarray(mean, dtype=np.float32)


def half_widths(
    tables: Tables, calibration: CuffCalibration | None, now: Floats, seconds: float, level: float
) -> Floats:
    """Return the half-widths (3,) of the intervals of SBP, DBP and MAP, mmHg.

    Args:
        tables: Of the model.
        calibration: None without a reading.
        now: (len(FEATURES),) of the window, or a running mean of the last ones.
        seconds: Since the reading.
        level: Mean of the published wave, mmHg.
    """
    if calibration is None:
        return tables.uncalibrated
    change = standardised(now - calibration.at_cuff)
    moved = 0.0 if calibration.level is None else abs(level - calibration.level)
    hard = difficulty(change[None], np.array([seconds]), np.array([moved]))[0]
    return np.asarray(tables.calibrated @ hard)


def difficulty(change: Floats, seconds: Floats, moved: Floats) -> Floats:
    """Return what makes an estimate uncertain, (n, len(DIFFICULTY)).

    Args:
        change: (n, len(FEATURES)) since the reading, in training spreads.
        seconds: (n,) since the reading.
        moved: (n,) mmHg by which the mean pressure has moved since.
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
    """Averages the level and pulse height of successive windows; forgets at a gap or a reading."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._level: float | None = None
        self._height = 0.0

    def forget(self) -> None:
        """Start afresh with the next window."""
        self._level = None

    def push(self, wave: Waves, seconds: float) -> Waves:
        """Return the wave (window,), mmHg, at the running level and pulse height.

        Args:
            wave: mmHg.
            seconds: Since the window before.
        """
        level, height = float(wave.mean()), max(float(wave.std()), 1e-3)
        if self._level is None:
            self._level, self._height = level, height
        else:
            new = 1.0 - math.exp(-seconds / self._seconds)
            self._level += new * (level - self._level)
            self._height += new * (height - self._height)
        return np.asarray(self._level + (wave - level) * (self._height / height), dtype=np.float32)
