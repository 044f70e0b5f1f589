"""Figures over subjects: mean errors by subject, gains with confidence intervals, two models.

Beats of one subject are alike, so that every confidence interval draws whole subjects (bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.stream.evaluation.streaming import EvaluatedRecord

Floats = npt.NDArray[np.float64]

PRESSURES = ("sbp", "dbp", "map")
READINGS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 8), (9, None))
"""First and last number of the cuff reading in force, by row."""
BASES = ("held", "kriging", "population")
DRAWS = 2000
_LEAST = 1e-9


class SubjectErrors:
    """Sums of absolute errors by subject, and draws of subjects.

    Args:
        errors: (n, 3) each, mmHg, by name.
        subject: (n,) names.
    """

    def __init__(self, errors: Mapping[str, Floats], subject: npt.NDArray[np.str_]) -> None:
        names, which = np.unique(subject, return_inverse=True)
        self.count: Floats = np.bincount(which, minlength=len(names)).astype(np.float64)
        self.sums: dict[str, Floats] = {
            name: np.stack(
                [np.bincount(which, np.abs(error[:, k]), len(names)) for k in range(3)], axis=1
            )
            for name, error in errors.items()
        }
        rng = np.random.default_rng(0)
        self._drawn = rng.integers(0, len(names), (DRAWS, len(names)))

    def means(self, name: str) -> Floats:
        """Return the mean absolute error (3,) with subjects weighing alike, mmHg."""
        return np.asarray((self.sums[name] / self.count[:, None]).mean(axis=0))

    def gain(self, name: str, base: str) -> tuple[Floats, Floats]:
        """Return the share (3,) by which errors are below those of `base`, and its 95 % limits."""
        own, other = self.sums[name], self.sums[base]
        found = 1.0 - own.sum(0) / np.maximum(other.sum(0), _LEAST)
        drawn = 1.0 - own[self._drawn].sum(1) / np.maximum(other[self._drawn].sum(1), _LEAST)
        return found, np.percentile(drawn, (2.5, 97.5), axis=0)

    def difference(self, name: str, base: str) -> tuple[Floats, Floats]:
        """Return the mean absolute error (3,) minus that of `base`, mmHg, and its 95 % limits."""
        own = self.sums[name] - self.sums[base]
        found = own.sum(0) / self.count.sum()
        drawn = own[self._drawn].sum(1) / self.count[self._drawn].sum(1)[:, None]
        return found, np.percentile(drawn, (2.5, 97.5), axis=0)


def subject_figures(
    errors: Mapping[str, Floats], subject: npt.NDArray[np.str_], number: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return errors by subject, gains with their limits, and gains by number of the reading.

    Args:
        errors: (n, 3) each, mmHg, by name; among them ``model``.
        subject: (n,) names.
        number: (n,) number of the reading in force, from 1; 0 before the first.
    """
    table = SubjectErrors(errors, subject)
    means = {name: _named(table.means(name), 2) for name in errors}
    bases = [base for base in BASES if base in errors and (table.sums[base].sum(0) > 0).all()]
    found: dict[str, Any] = {
        "by_subject": means,
        "below": {base: _limits(*table.gain("model", base), 3) for base in bases},
    }
    if "held" in errors and (number > 0).any():
        found["by_reading"] = _by_reading(errors, number)
    return found


def compared(
    evaluated: Sequence[EvaluatedRecord], former: Sequence[EvaluatedRecord]
) -> dict[str, Any]:
    """Return how two models differ on the beats that both give, paired by subject.

    Args:
        evaluated: Records of the model.
        former: The same records by the other model.
    """
    parts: dict[str, list[Floats]] = {"model": [], "former": [], "held": []}
    subjects: list[npt.NDArray[np.str_]] = []
    others = {record.file: record for record in former}
    for record in evaluated:
        if (other := others.get(record.file)) is None:
            continue  # without a valid beat
        _, own, its = np.intersect1d(record.beat, other.beat, return_indices=True)
        known = record.age[own] > 0
        own, its = own[known], its[known]
        parts["model"].append(record.found[own] - record.truth[own])
        parts["former"].append(other.found[its] - other.truth[its])
        parts["held"].append(record.cuff[own] - record.truth[own])
        subjects.append(np.full(len(own), record.subject))
    errors = {name: np.concatenate([np.zeros((0, 3)), *part]) for name, part in parts.items()}
    if not len(errors["model"]):
        return {}
    table = SubjectErrors(errors, np.concatenate(subjects))
    return {
        "subjects": len(table.count),
        "beats": len(errors["model"]),
        "below_held": {
            name: _named(table.gain(name, "held")[0], 3) for name in ("model", "former")
        },
        "difference_mmhg": _limits(*table.difference("model", "former"), 2),
    }


def _by_reading(
    errors: Mapping[str, Floats], number: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    rows = []
    for first, last in READINGS:
        here = (number >= first) & (number <= (number.max() if last is None else last))
        if here.any():
            mae = {n: np.abs(errors[n][here]).mean(axis=0) for n in ("model", "held")}
            rows.append(
                {
                    "from": first,
                    "to": last,
                    "beats": int(here.sum()),
                    "mae": {name: values.round(2).tolist() for name, values in mae.items()},
                }
            )
    return rows


def _named(values: Floats, digits: int) -> dict[str, float]:
    return {p: round(float(v), digits) for p, v in zip(PRESSURES, values, strict=True)}


def _limits(values: Floats, limits: Floats, digits: int) -> dict[str, Any]:
    return {
        p: {
            "value": round(float(values[k]), digits),
            "bootstrap_95": [round(float(v), digits) for v in limits[:, k]],
        }
        for k, p in enumerate(PRESSURES)
    }
