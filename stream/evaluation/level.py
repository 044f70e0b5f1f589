"""The level without a cuff reading: its fit, and its accuracy on awake people."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import FEATURES
from innpar.models.calibration.population import PRESSURES, PopulationLevel
from innpar.models.calibration.tables import Tables
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.index import of_split, read_index
from innpar.models.data.sampling import raw_buffers, window_features
from innpar.models.errors import ModelError
from innpar.models.manifest import NAME, WINDOW, Manifest, verified_bytes
from innpar.models.predictor import Predictor
from innpar.models.training.journal import make_folder, replace
from innpar.models.training.population_fit import LevelSource, fit_level
from innpar.stream.errors import ConfigError
from innpar.stream.evaluation.awake import awake_sets, fit_half
from innpar.stream.evaluation.dataset import training_matrix, training_windows

Floats = npt.NDArray[np.float64]

HOP = 4 * WINDOW
"""Samples between the starts of two windows of the training recordings."""
_HEART_RATE = FEATURES.index("heart_rate")


def evaluate_awake(
    data: Path, *, model: Path | None = None, as_json: bool = False
) -> list[dict[str, Any]]:
    """Print the errors and coverage without a reading on awake people; return them by set.

    Args:
        data: The data folder.
        model: A ``manifest.json`` or its folder; None for the model that comes with the package.
        as_json: Print JSON instead of a table.

    Raises:
        ModelError: The data or the model is unusable.
    """
    predictor = Predictor.load(model)
    rows = [_figures(source, predictor.manifest) for source in awake_sets(data, predictor)]
    _show(f"{predictor.id}, awake people, without a cuff reading", rows, as_json)
    return rows


def refit_level(model: Path, out: Path, data: Path) -> Manifest:
    """Fit the level without a reading; write the model with it to `out`, weights unchanged.

    The fit sees split ``train``, and half of the people of every awake set; the other half is
    printed, by the former tables and by the new ones.

    Args:
        model: A ``manifest.json`` or its folder.
        out: Model folder to write.
        data: The data folder.

    Raises:
        ModelError: The data or the model is unusable, or a file cannot be written.
    """
    predictor = Predictor.load(model)
    former = predictor.manifest
    tables = Tables.of(former.calibration, former.intervals)
    if tables is None:
        raise ConfigError(f"{former.id} has no calibration tables; train it with tables first")
    awake = awake_sets(data, predictor)
    fitted = [*_training_sources(data, predictor), *(s.of(fit_half(s)) for s in awake)]
    table, widths = fit_level(fitted, _centre(former), tables.level)
    manifest = dataclasses.replace(
        former,
        calibration={**former.calibration, "uncalibrated": table},
        intervals={**former.intervals, "uncalibrated": widths},
    )
    source = model if model.is_dir() else model.parent
    make_folder(out)
    for name in former.files:
        replace(out / name, verified_bytes(source, former, name))
    replace(out / NAME, manifest.to_json().encode())
    kept = [s.of(~fit_half(s)) for s in awake]
    _show("before, half of the awake people", [_figures(s, former) for s in kept])
    _show("after, the same people", [_figures(s, manifest) for s in kept])
    _show("after, the sources of the fit", [_figures(s, manifest) for s in fitted])
    print(f"keep {table['keep']:g}, half-widths {widths} mmHg")
    return manifest


def _training_sources(data: Path, predictor: Predictor) -> list[LevelSource]:
    """Return the sources of split ``train``, one row per window."""
    entries = of_split(read_index(data), "train")
    known = predictor.manifest.training.get("windows_by_source", {})
    found = []
    for name in sorted({entry.source for entry in entries}):
        own = [entry for entry in entries if entry.source == name]
        windows = training_windows(data, own, HOP)
        matrix = training_matrix().astype(np.float32)
        rate = window_features(windows, matrix)[:, _HEART_RATE]
        edge = predictor.manifest.drop
        alone = np.empty((len(windows), 3))
        for k in range(0, len(windows), 64):
            part = slice(k, k + 64)
            raw = raw_buffers(windows, windows.start[part], matrix.shape[0])
            waves = predictor(raw @ matrix).abp[:, edge:-edge].astype(np.float64)
            alone[part] = wave_pressures(waves, rate[part], windows.rate)
        truth = np.stack((windows.sbp, windows.dbp, windows.map_), axis=1).astype(np.float64)
        subject = np.array(windows.subjects)[windows.subject]
        found.append(LevelSource(name, name not in known, subject, alone, truth))
    return found


def _centre(manifest: Manifest) -> Floats:
    means = manifest.training.get("population_mmhg")
    if not isinstance(means, dict) or not means.keys() >= set(PRESSURES):
        raise ModelError(f"{manifest.id} has no population_mmhg; train it again")
    return np.array([float(means[name]) for name in PRESSURES])


def _figures(source: LevelSource, manifest: Manifest) -> dict[str, Any]:
    """Return the errors of the network, of the published level and of the mean, and coverage."""
    tables = Tables.of(manifest.calibration, manifest.intervals)
    centre = _centre(manifest)
    level = tables.population if tables and tables.population else PopulationLevel(centre, 1.0)
    published = level.pressures(source.alone)
    row: dict[str, Any] = {
        "set": source.name,
        "people": source.people,
        "records": len(source.truth),
        "network": _rounded(source.mae(source.alone)),
        "published": _rounded(source.mae(published)),
        "mean": _rounded(source.mae(centre)),
    }
    if tables is not None:
        covered = source.coverage(published, tables.uncalibrated)
        row["coverage"] = [round(float(v), 3) for v in covered]
    return row


def _rounded(values: Floats) -> list[float]:
    return [round(float(v), 1) for v in values]


def _show(title: str, rows: list[dict[str, Any]], as_json: bool = False) -> None:
    """Print rows of figures, MAE as SBP/DBP/MAP in mmHg."""
    if as_json:
        print(json.dumps({"title": title, "sets": rows}, indent=2))
        return
    print(f"{title}; MAE SBP/DBP/MAP in mmHg, people alike")
    print(f"{'':14}{'people':>7}{'rows':>7}  {'network':16}{'published':16}{'mean':16}covered, %")
    for row in rows:
        columns = ("/".join(f"{v:.1f}" for v in row[n]) for n in ("network", "published", "mean"))
        covered = "/".join(f"{100 * v:.0f}" for v in row.get("coverage", []))
        errors = "".join(f"{text:16}" for text in columns)
        print(f"{row['set']:14}{row['people']:7}{row['records']:7}  {errors}{covered}")
