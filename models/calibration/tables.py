"""Calibration tables of a manifest: how cuff readings are applied, how wide the intervals are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.population import PRESSURES, PopulationLevel
from innpar.models.calibration.process_level import ProcessTable
from innpar.models.errors import ModelError

Floats = npt.NDArray[np.float64]

DIFFICULTY = ("one", "log_time", "heart_rate", "shape", "level")
"""Terms on which the half-width of an interval depends linearly; see `calibrate.difficulty`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Blend:
    """Weights of the uncalibrated wave in the published one; the calibrated wave has the rest.

    Attributes:
        mapped: Weight of the uncalibrated wave mapped to the reading: right after the reading, and
            long after it.
        plain: Weight of the unchanged uncalibrated wave, likewise.
        seconds: Time constant of the transition from the first weights to the second.
    """

    mapped: tuple[float, float]
    plain: tuple[float, float]
    seconds: float

    def at(self, seconds: float) -> tuple[float, float]:
        """Return the weights of the mapped and the plain wave, `seconds` after the reading."""
        fresh = math.exp(-max(seconds, 0.0) / self.seconds)
        (mapped, mapped_later), (plain, plain_later) = self.mapped, self.plain
        return (
            mapped_later + (mapped - mapped_later) * fresh,
            plain_later + (plain - plain_later) * fresh,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Tables:
    """The `calibration` and `intervals` of a manifest.

    Attributes:
        pull: Weight of the affine map to the reading right after it, 0 to 1.
        fade_seconds: Time constant with which that weight decays.
        blend: Weights of the uncalibrated wave.
        smooth_seconds: Time constant over which level and pulse height are averaged.
        level: Target coverage of the intervals: share of an unseen subject's beats, 0 to 1.
        calibrated: (3, len(DIFFICULTY)) mmHg; half-widths of SBP, DBP, MAP per unit of difficulty.
        uncalibrated: (3,) mmHg; half-widths without a reading.
        population: Shrinkage of the level without a reading; None: the network's own level.
        process: Process over all readings; None: only the newest counts.
    """

    pull: float
    fade_seconds: float
    blend: Blend
    smooth_seconds: float
    level: float
    calibrated: Floats
    uncalibrated: Floats
    population: PopulationLevel | None = None
    process: ProcessTable | None = None

    @classmethod
    def of(cls, calibration: Mapping[str, Any], intervals: Mapping[str, Any]) -> Tables | None:
        """Read a manifest's `calibration` and `intervals`; None if either is empty.

        Raises:
            ModelError: They differ from the format that this version writes.
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
                _population(calibration.get("uncalibrated")),
                _process(calibration.get("process")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the model's calibration tables are unusable ({error}); export the model again"
            ) from None
        if tables.calibrated.shape != (3, len(DIFFICULTY)):
            raise ModelError(
                "the model's interval tables have another shape; export the model again"
            )
        return tables


def _population(table: Mapping[str, Any] | None) -> PopulationLevel | None:
    """Read a manifest's `uncalibrated`; raises KeyError, TypeError or ValueError."""
    return None if table is None else PopulationLevel.of(table)


def _process(table: Mapping[str, Any] | None) -> ProcessTable | None:
    """Read a manifest's `process`; raises KeyError, TypeError or ValueError."""
    return None if table is None else ProcessTable.of(table)


def _blend(table: Mapping[str, Any]) -> Blend:
    """Read a manifest's `blend`; raises KeyError, TypeError or ValueError."""
    (mapped, mapped_later), (plain, plain_later) = table["mapped"], table["plain"]
    return Blend(
        (float(mapped), float(mapped_later)),
        (float(plain), float(plain_later)),
        float(table["seconds"]),
    )


__all__ = ["DIFFICULTY", "PRESSURES", "Blend", "PopulationLevel", "Tables"]
