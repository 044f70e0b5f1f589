"""From a training run's folder to a model folder that says where it comes from."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file

from innpar.models.calibration.context import CONTEXT
from innpar.models.data.licence import licence_note
from innpar.models.data.recordings import DataError, Windows
from innpar.models.data.sampling import CENTRE, SPREAD, raw_buffers
from innpar.models.formats.export import export
from innpar.models.manifest import Architecture, Manifest
from innpar.models.network.fold import fold
from innpar.models.network.innpar import InnPar
from innpar.models.predictor import Predictor
from innpar.models.training.checkpoint import index_digest
from innpar.models.training.config import ModelConfig, TrainConfig
from innpar.models.training.journal import Journal, replace
from innpar.models.training.validate import HeldCuffs, held_cuffs

_REAL_CASES = 64
USUAL = 95.0
"""Percentile of good windows below which a contradiction says nothing."""


def release(
    run: Path,
    directory: Path,
    config: TrainConfig,
    windows: Windows,
    check: Windows,
    matrix: npt.NDArray[np.float64],
    *,
    calibration: Mapping[str, Any] | None = None,
    intervals: Mapping[str, Any] | None = None,
    note: str = "",
) -> Manifest:
    """Export a run's averaged weights with their provenance, and keep its training log beside them.

    Args:
        run: Folder that `train` wrote.
        directory: The model folder.
        config: What was trained.
        windows: What it was trained on.
        check: What it was validated on.
        matrix: Conditioning, to verify the export on real windows.
        calibration: Tables of `calibrate`, None without.
        intervals: Likewise.
        note: What else must be known about the run.

    Raises:
        DataError: The run has no weights or no log yet.
        ModelError: The export is not exact, or cannot be written.
    """
    rows = Journal(run / "training.csv").rows
    weights = run / "average.safetensors"
    if not rows or not weights.is_file():
        raise DataError(f"{run} has no validated weights yet; train first")
    model = InnPar(**dataclasses.asdict(config.network), context=len(CONTEXT))
    model.load_state_dict(load_file(weights))
    some = np.linspace(0, len(check) - 1, min(_REAL_CASES, len(check))).astype(np.int64)
    ppg = raw_buffers(check, check.start[some], matrix.shape[0]) @ matrix.astype(np.float32)
    last = rows[-1]
    called = config.model.of_index(index_digest(windows, check))
    fields = {
        "name": called.name,
        "version": called.version,
        "abp_offset": CENTRE,
        "abp_scale": SPREAD,
        "licence": licence_note(entry.source for entry in windows.entries),
        "training": {**_provenance(config, windows, int(last["step"])), "note": note},
        "metrics": _metrics(config, check, last),
        "calibration": dict(calibration or {}),
        "intervals": dict(intervals or {}),
    }
    scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
    fields["confidence"] = _confidence(model, called, held_cuffs(check, matrix, 1800.0, step=4))
    manifest = export(model, directory, fields, context=CONTEXT, windows=scaled)
    for name in ("training.csv", "training.png"):
        if (run / name).is_file():
            replace(directory / name, (run / name).read_bytes())
    return manifest


def _confidence(model: InnPar, called: ModelConfig, held: HeldCuffs) -> dict[str, float]:
    """Return what 95 % of the validation windows' contradictions stay below; see `Prediction`."""
    folded = fold(model)
    draft = Manifest(
        name=called.name,
        version=called.version,
        architecture=Architecture(
            len(model.blocks), model.features, model.kernel, model.clamp, CONTEXT
        ),
        abp_offset=CENTRE,
        abp_scale=SPREAD,
    )
    found = Predictor(draft, folded, folded.inverse, "eager")(
        held.ppg, held.contexts(), reverse=True
    )
    return {
        name: round(float(np.percentile(getattr(found, name), USUAL)), 3)
        for name in ("consistency", "reverse")
    }


def _provenance(config: TrainConfig, windows: Windows, step: int) -> dict[str, Any]:
    each = np.bincount(windows.subject)
    weight = 1.0 / each[windows.subject] / len(each)
    pressures = {"sbp": windows.sbp, "dbp": windows.dbp, "map": windows.map_}
    sources = Counter(windows.entries[record].source for record in windows.record.tolist())
    return {
        "subjects": len(windows.subjects),
        "records": len(windows.entries),
        "windows": len(windows),
        "population_mmhg": {name: round(float(weight @ p), 2) for name, p in pressures.items()},
        "windows_by_source": dict(sorted(sources.items())),
        "steps": step,
        "batch": config.run.batch,
        "config": config.plain(),
    }


def _metrics(config: TrainConfig, check: Windows, row: Mapping[str, float]) -> dict[str, Any]:
    """MAE a window on validation, mmHg, the network alone, beside the trivial baselines."""
    states = ("calibrated", "held", "uncalibrated", "population")
    pressures = ("sbp", "dbp", "map")
    return {
        "split": "val",
        "subjects": len(check.subjects),
        "windows": len(check),
        "cuff_minutes": config.run.cuff_minutes,
        "mae_mmhg": {
            state: {pressure: round(row[f"{state}_{pressure}"], 2) for pressure in pressures}
            for state in states
        },
        "inverse_error": row["inverse_error"],
        "inverse_noise_gain": round(row["inverse_noise_gain"], 2),
    }
