"""Release of a training run as a model folder, with its provenance."""

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
from innpar.models.data.recordings import Windows
from innpar.models.data.sampling import CENTRE, SPREAD, raw_buffers
from innpar.models.errors import DataError
from innpar.models.formats.export import export
from innpar.models.formats.torch_networks import TorchNetwork
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
"""Percentile of good windows up to which a measure of consistency is normal."""


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
    """Export a run's averaged weights with their provenance, and copy its training log.

    Args:
        run: Folder that `train` wrote.
        directory: Model folder to write.
        config: Configuration of the run.
        windows: Training windows.
        check: Validation windows.
        matrix: Conditioning, (buffer, window), to verify the export on real windows.
        calibration: Table of `crossfit`; None without.
        intervals: Table of `crossfit`; None without.
        note: Remark on the run, for the manifest.

    Returns:
        The manifest of the model.

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
    identity = config.model.of_index(index_digest(windows, check))
    fields = {
        "name": identity.name,
        "version": identity.version,
        "abp_offset": CENTRE,
        "abp_scale": SPREAD,
        "licence": licence_note(entry.source for entry in windows.entries),
        "training": {**_provenance(config, windows, int(last["step"])), "note": note},
        "metrics": _metrics(config, check, last),
        "calibration": dict(calibration or {}),
        "intervals": dict(intervals or {}),
    }
    scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
    fields["confidence"] = _confidence(model, identity, held_cuffs(check, matrix, 1800.0, step=4))
    manifest = export(model, directory, fields, context=CONTEXT, windows=scaled)
    for name in ("training.csv", "training.png"):
        if (run / name).is_file():
            replace(directory / name, (run / name).read_bytes())
    return manifest


def _confidence(model: InnPar, identity: ModelConfig, held: HeldCuffs) -> dict[str, float]:
    """Return the 95th percentiles of `Prediction.consistency` and `.reverse` over `held`."""
    folded = fold(model)
    draft = Manifest(
        name=identity.name,
        version=identity.version,
        architecture=Architecture(
            len(model.blocks), model.features, model.kernel, model.clamp, CONTEXT
        ),
        abp_offset=CENTRE,
        abp_scale=SPREAD,
    )
    found = Predictor(draft, TorchNetwork(folded, folded.inverse), "eager")(
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
        "config": config.as_dict(),
    }


def _metrics(config: TrainConfig, check: Windows, row: Mapping[str, float]) -> dict[str, Any]:
    """Return the MAE per validation window, mmHg, of the network alone and of the baselines."""
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
