"""Accuracy figures of evaluated records, beside three baselines and the standards' limits.

AAMI/ISO 81060-2 applies to cuff devices; only its numbers are compared. ISO 81060-3:2022 is the
standard for continuous devices. IEEE 1708 and BHS grades are as published. Every figure is computed
over the pooled beats of a group of records and comes with its number of subjects.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.stream.evaluation.streaming import EvaluatedRecord
from innpar.stream.evaluation.subjects import PRESSURES, subject_figures

Floats = npt.NDArray[np.float64]

GROUPS = {
    "vitaldb": ("vitaldb",),
    "mimic+bidmc": ("mimic3", "mimic4", "bidmc"),
    "mimicdb": ("mimicdb",),
    "uci": ("uci",),
    "uq": ("uq",),
    "challenge2015": ("challenge2015",),
}
"""Beginnings of the source folders' names, by group; any other source is a group of its own."""
AGES = (0.0, 5.0, 15.0, 30.0, 60.0, 120.0, np.inf)  # minutes
_BOOTSTRAP = 1000


def score(
    evaluated: Sequence[EvaluatedRecord], population: Sequence[float] | None, level: float
) -> dict[str, Any]:
    """Return all figures by group of data sources, ready for JSON; pressures in mmHg.

    Args:
        evaluated: The records.
        population: Mean SBP, DBP, MAP of the training subjects, mmHg; None if unknown.
        level: Target coverage of the intervals, 0 to 1.
    """
    names = [_group_name(record.source) for record in evaluated]
    groups: dict[str, Any] = {}
    for name in [*(n for n in GROUPS if n in names), *sorted({*names} - {*GROUPS})]:
        chosen = [r for r, own in zip(evaluated, names, strict=True) if own == name]
        groups[name] = _group(chosen, population, level)
    if len(groups) > 1:
        groups["all"] = _group(list(evaluated), population, level)
    return groups


def _group_name(source: str) -> str:
    return next((name for name, starts in GROUPS.items() if source.startswith(starts)), source)


def _group(
    records: list[EvaluatedRecord], population: Sequence[float] | None, level: float
) -> dict[str, Any]:
    calibrated = np.concatenate([np.isfinite(j.age) & (j.age > 0) for j in records])
    selected = calibrated if calibrated.any() else np.ones(len(calibrated), bool)

    def joined(name: str) -> Floats:
        return np.asarray(np.concatenate([getattr(j, name) for j in records])[selected])

    subject = np.concatenate([np.full(len(j.seconds), j.subject) for j in records])[selected]
    truth, found = joined("truth"), joined("found")
    errors = {"model": found - truth}
    if population is not None:
        errors["population"] = np.asarray(population, dtype=np.float64) - truth
    if calibrated.any():
        errors["held"] = joined("cuff") - truth
        errors["kriging"] = joined("kriged") - truth
    heart = joined("heart_rate") - joined("true_heart_rate")
    heart = heart[np.isfinite(heart)]
    offered, given = sum(j.offered for j in records), sum(len(j.seconds) for j in records)
    result: dict[str, Any] = {
        "subjects": len(set(subject.tolist())),
        "records": len(records),
        "beats": len(truth),
        "hours": round(
            float(
                sum(
                    60.0 / j.true_heart_rate[np.isfinite(j.true_heart_rate)].mean() * len(j.seconds)
                    for j in records
                )
            )
            / 3600.0,
            2,
        ),
        "rejected": round(1.0 - given / max(offered, 1), 4),
        "per_beat": {name: _summary(error) for name, error in errors.items()},
        "heart_rate": _figures(heart),
        "per_30_s": {n: _summary(_half_minutes(records, e, selected)) for n, e in errors.items()},
        "standards": {
            p: _standards(errors["model"][:, k], subject) for k, p in enumerate(PRESSURES)
        },
        "waveform": _waveform(joined("wave"), truth),
    }
    number = np.concatenate([j.number for j in records])[selected]
    result |= subject_figures(errors, subject, number)
    if calibrated.any():
        result["by_minutes_since_cuff"] = _by_age(joined("age") / 60.0, errors)
    low, high = joined("low"), joined("high")
    known = np.isfinite(low).all(axis=1)
    if known.any():
        held = errors["held"][known] if "held" in errors else None
        covered = _intervals(low[known], high[known], truth[known], held, subject[known])
        result["intervals"] = {"level": level, **covered}
    return result


def _figures(error: Floats) -> dict[str, float]:
    return {
        "me": round(float(error.mean()), 2),
        "sd": round(float(error.std()), 2),
        "mae": round(float(np.abs(error).mean()), 2),
    }


def _summary(error: Floats) -> dict[str, dict[str, float]]:
    return {p: _figures(error[:, k]) for k, p in enumerate(PRESSURES)}


def _half_minutes(
    records: list[EvaluatedRecord], error: Floats, selected: npt.NDArray[np.bool_]
) -> Floats:
    """Return mean errors (n, 3) over half minutes with at least five of the selected beats."""
    means, first, taken = [], 0, 0
    for j in records:
        mine = selected[first : first + len(j.seconds)]
        own = error[taken : taken + int(mine.sum())]
        first, taken = first + len(j.seconds), taken + len(own)
        part = (j.seconds[mine] // 30).astype(np.int64)
        means += [own[part == k].mean(axis=0) for k in np.unique(part) if (part == k).sum() >= 5]
    return np.array(means).reshape(-1, 3)


def _standards(error: Floats, subject: npt.NDArray[np.str_]) -> dict[str, Any]:
    within = [float((np.abs(error) <= limit).mean() * 100.0) for limit in (5, 10, 15)]
    mad = float(np.abs(error).mean())
    grades = {"A": (60, 85, 95), "B": (50, 75, 90), "C": (40, 65, 85)}
    bhs = next((g for g, need in grades.items() if all(np.array(within) >= need)), "D")
    ieee = "A" if mad <= 5 else "B" if mad < 6 else "C" if mad < 7 else "D"
    means = np.array([error[subject == s].mean() for s in np.unique(subject)])
    return {
        "aami_numbers_met": bool(abs(error.mean()) <= 5 and error.std() <= 8),
        "aami_subjects": f"{len(means)} of 85",
        "sd_of_subject_means": round(float(means.std(ddof=1)) if len(means) > 1 else 0.0, 2),
        "ieee_1708": ieee,
        "bhs": bhs,
        "within_5_10_15": [round(value, 1) for value in within],
    }


def _waveform(wave: Floats, truth: Floats) -> dict[str, float]:
    known = wave[np.isfinite(wave).all(axis=1)]
    if not len(known):
        return {}
    mae, rmse, slope, r = known.mean(axis=0)
    pulse = float((truth[:, 0] - truth[:, 1]).mean())
    return {
        "mae": round(float(mae), 2),
        "rmse": round(float(rmse), 2),
        "nrmse_by_mean_pulse_pressure": round(float(rmse) / pulse, 3),
        "max_slope_error_mmhg_s": round(float(slope), 1),
        "pearson_r_without_mean": round(float(r), 4),
    }


def _by_age(minutes: Floats, errors: Mapping[str, Floats]) -> list[dict[str, Any]]:
    rows = []
    for low, high in itertools.pairwise(AGES):
        here = (minutes > low) & (minutes <= high)
        if here.any():
            mae = {
                n: np.abs(errors[n][here]).mean(axis=0).round(2).tolist() for n in ("model", "held")
            }
            until = None if np.isinf(high) else high
            rows.append({"from": low, "to": until, "beats": int(here.sum()), "mae": mae})
    return rows


def _intervals(
    low: Floats,
    high: Floats,
    truth: Floats,
    held: Floats | None,
    subject: npt.NDArray[np.str_],
) -> dict[str, Any]:
    """Return coverage and width, and the width of held-cuff intervals of the same coverage."""
    inside = (truth >= low) & (truth <= high)
    names = np.unique(subject)
    each = np.array([inside[subject == s].mean(axis=0) for s in names])
    weight = np.array([(subject == s).sum() for s in names], dtype=np.float64)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(names), (_BOOTSTRAP, len(names)))
    means = (each[drawn] * weight[drawn][..., None]).sum(1) / weight[drawn].sum(1)[:, None]
    found: dict[str, Any] = {}
    for k, pressure in enumerate(PRESSURES):
        coverage, width = float(inside[:, k].mean()), float((high - low)[:, k].mean())
        row = {
            "coverage": round(coverage, 4),
            "bootstrap_95": [round(float(v), 4) for v in np.percentile(means[:, k], (2.5, 97.5))],
            "by_subject": {
                str(s): round(float(v), 3) for s, v in zip(names, each[:, k], strict=True)
            },
            "mean_width": round(width, 2),
        }
        if held is not None:
            equal = 2.0 * float(np.quantile(np.abs(held[:, k]), coverage))
            row["held_width_of_equal_coverage"] = round(equal, 2)
            if equal > 0:
                row["narrower_by"] = round(1.0 - width / equal, 3)
        found[pressure] = row
    return found


__all__ = ["PRESSURES", "score"]
