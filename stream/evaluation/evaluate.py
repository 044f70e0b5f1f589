"""Evaluation through the live pipeline: stream, judge, print, and write a report."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from innpar.devices.session.strict_json import strict_json
from innpar.models.calibration.calibrate import Tables
from innpar.models.data.recordings import DataError, IndexEntry, folder_of, of_split, read_index
from innpar.models.errors import ModelError
from innpar.models.manifest import NAME, Manifest
from innpar.models.predictor import SHIPPED, Predictor
from innpar.stream.errors import ConfigError
from innpar.stream.evaluation.html import check_report, write_report
from innpar.stream.evaluation.score import PRESSURES, score
from innpar.stream.evaluation.streaming import Judged, stream_records
from innpar.stream.evaluation.tables import show


def evaluate(
    data: Path,
    *,
    split: str = "test",
    model: Path | None = None,
    cuff_minutes: float | None = 30.0,
    thin: int = 1,
    report: Path | None = None,
    as_json: bool = False,
) -> dict[str, Any]:
    """Evaluate a model on a split and print the tables.

    Args:
        data: The data folder.
        split: train, val, test or rejects.
        model: A manifest or its folder; None for the shipped one.
        cuff_minutes: Between cuff readings; None without any, infinity for one at the start.
        thin: Stream every so many-th record only.
        report: HTML to write; a file of the data or the model is never overwritten.
        as_json: Print the figures as JSON instead of tables.

    Returns:
        The figures by group; see `score`.

    Raises:
        ConfigError: `cuff_minutes` or `thin` makes no sense.
        ModelError: The data or the model cannot be used, or the report cannot be written.
    """
    if thin < 1:
        raise ConfigError(f"--every: a whole number from 1 up (every N-th record), not {thin}")
    if cuff_minutes is not None and not cuff_minutes > 0:
        raise ConfigError(f"--cuff-every: minutes above 0, once or never, not {cuff_minutes:g}")
    predictor = Predictor.load(model)
    manifest = predictor.manifest
    if manifest.relative and cuff_minutes is None:
        raise ConfigError(
            f"{predictor.id} gives no pressures without a cuff reading; take --cuff-every once"
        )
    population, tables = _population(manifest), Tables.of(manifest.calibration, manifest.intervals)
    entries = of_split(read_index(data), split)[::thin]
    if report is not None:
        check_report(report, _inputs(data, entries, model, manifest))
    if population is None:
        print(
            f"no population baseline: {predictor.id} does not tell its training subjects' means",
            file=sys.stderr,
        )
    every = None if cuff_minutes is None else 60.0 * cuff_minutes
    judged = stream_records(data, entries, predictor, every)
    if not judged:
        raise DataError(f"no beat of split {split!r} could be judged")
    groups = score(judged, population, tables.level if tables else 0.0)
    title = f"{predictor.id} on {split}, {_state(cuff_minutes)}"
    if as_json:
        print(strict_json({"title": title, "groups": groups}, indent=2))
    else:
        show(title, groups)
    if report is not None:
        write_report(report, title, groups, judged)
    return groups


def _population(manifest: Manifest) -> list[float] | None:
    """Return the training subjects' means; None where the manifest does not tell them."""
    trained = manifest.training.get("population_mmhg")
    try:
        return None if trained is None else [float(trained[name]) for name in PRESSURES]
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{manifest.id}: population_mmhg is not sbp, dbp and map") from None


def _inputs(
    data: Path, entries: list[IndexEntry], model: Path | None, manifest: Manifest
) -> list[Path]:
    """Return the files that are read."""
    folder, path = folder_of(data), SHIPPED if model is None else model
    beside = path if path.is_dir() else path.parent
    files = [beside / name for name in (NAME, *manifest.files)]
    return [folder / "index.csv", *(folder / entry.file for entry in entries), path, *files]


def _state(cuff_minutes: float | None) -> str:
    if cuff_minutes is None:
        return "without a cuff reading"
    if math.isinf(cuff_minutes):
        return "one cuff reading at the start"
    return f"a cuff reading every {cuff_minutes:g} minutes"


__all__ = ["Judged", "evaluate"]
