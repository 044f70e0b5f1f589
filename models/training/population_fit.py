"""Fit of the level and the interval without a cuff reading, over data sources and their people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.population import PRESSURES, PopulationLevel
from innpar.models.errors import DataError

Floats = npt.NDArray[np.float64]

KEEPS = np.linspace(0.0, 1.0, 21)
"""Shares of the network's level that are tried."""
ENOUGH = 10
"""People without whom a source decides nothing."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LevelSource:
    """Pressures of one data source without cuff readings as input.

    Attributes:
        name: Of the source.
        unseen: Whether the network was trained without the source.
        subject: (n,) names.
        alone: (n, 3) SBP, DBP, MAP of the network, mmHg.
        truth: (n, 3) true ones, mmHg.
    """

    name: str
    unseen: bool
    subject: npt.NDArray[np.str_]
    alone: Floats
    truth: Floats

    @property
    def people(self) -> int:
        """Number of subjects."""
        return len(np.unique(self.subject))

    @property
    def weight(self) -> Floats:
        """Weights (n,) that sum to one, subjects weighing alike."""
        _, which, counts = np.unique(self.subject, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / counts[which] / len(counts))

    def mae(self, published: Floats) -> Floats:
        """Return the mean absolute error (3,) of pressures (n, 3), mmHg, subjects alike."""
        return np.asarray(self.weight @ np.abs(published - self.truth))

    def coverage(self, published: Floats, half_widths: Floats) -> Floats:
        """Return the share (3,) of true pressures within the intervals, subjects alike."""
        return np.asarray(self.weight @ (np.abs(published - self.truth) <= half_widths))

    def of(self, chosen: npt.NDArray[np.bool_]) -> LevelSource:
        """Return the rows that a mask (n,) selects."""
        rows = (self.subject[chosen], self.alone[chosen], self.truth[chosen])
        return LevelSource(self.name, self.unseen, *rows)


def fit_level(
    sources: Sequence[LevelSource], centre: Floats, level: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return ``calibration.uncalibrated`` and ``intervals.uncalibrated`` for a manifest.

    The largest share of the network's level is kept with which no source that the network has not
    seen is worse than the mean. The half-width of a pressure covers `level` of the source where
    the errors are largest, subjects weighing alike.

    Args:
        sources: Those with fewer than `ENOUGH` people are left out.
        centre: (3,) SBP, DBP, MAP of the training population, mmHg.
        level: Share to cover, 0 to 1.

    Raises:
        DataError: No source that the network has not seen has enough people.
    """
    large = [source for source in sources if source.people >= ENOUGH]
    unseen = [source for source in large if source.unseen]
    if not unseen:
        raise DataError(
            f"no source that the network was trained without has {ENOUGH} people; add recordings "
            "of other people"
        )
    keep = max(float(k) for k in KEEPS if _earns(unseen, PopulationLevel(centre, float(k))))
    published = PopulationLevel(centre, keep)
    widths = np.max([_widths(source, published, level) for source in large], axis=0)
    table = {
        "method": "level shrunk towards the population's mean; the share kept makes no unseen "
        "source worse than that mean",
        "sources": {source.name: source.people for source in large},
        "centre": _named(centre),
        "keep": round(keep, 3),
    }
    return table, _named(widths)


def _earns(sources: Sequence[LevelSource], published: PopulationLevel) -> bool:
    """Return whether no source is worse than its error from the mean."""
    return all(
        (source.mae(published.pressures(source.alone)) <= source.mae(published.centre) + 1e-9).all()
        for source in sources
    )


def _widths(source: LevelSource, published: PopulationLevel, level: float) -> Floats:
    """Return the half-widths (3,) that cover `level` of a source, mmHg."""
    error = np.abs(published.pressures(source.alone) - source.truth)
    found = np.empty(3)
    for k in range(3):
        order = np.argsort(error[:, k])
        until = np.cumsum(source.weight[order])
        found[k] = error[order, k][min(int(np.searchsorted(until, level)), len(order) - 1)]
    return found


def _named(values: Floats) -> dict[str, float]:
    return {name: round(float(v), 2) for name, v in zip(PRESSURES, values, strict=True)}
