"""``innpar-stream evaluate``: accuracy of a model through the live pipeline."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from innpar.devices.session.strict_json import strict_json
from innpar.models.calibration.tables import Tables
from innpar.models.data.index import IndexEntry, folder_of, of_split, read_index
from innpar.models.errors import DataError, ModelError
from innpar.models.manifest import NAME, SHIPPED, Manifest
from innpar.models.predictor import Predictor
from innpar.stream.errors import ConfigError
from innpar.stream.evaluation.html import check_report, write_report
from innpar.stream.evaluation.score import PRESSURES, score
from innpar.stream.evaluation.streaming import EvaluatedRecord, stream_records
from innpar.stream.evaluation.subjects import compared
from innpar.stream.evaluation.tables import comparison, show
from innpar.stream.windows.timing import NORMAL, LatencyMode


def evaluate(
    data: Path,
    *,
    split: str = "val",
    model: Path | None = None,
    against: Path | None = None,
    cuff_minutes: float | None = 30.0,
    thin: int = 1,
    mode: LatencyMode = NORMAL,
    report: Path | None = None,
    as_json: bool = False,
) -> dict[str, Any]:
    """Evaluate a model on a split and print the tables.

    Args:
        data: The data folder.
        split: train, val, test or rejects.
        model: A ``manifest.json`` or its folder; None for the model that comes with the package.
        against: Another model, to be compared on the same beats; None for none.
        cuff_minutes: Time between cuff readings, min; None for no reading, infinity for one at the
            start.
        thin: Stream only every so many-th record.
        mode: Latency of the pipeline.
        report: HTML file to write; must not be a file of the data or the model.
        as_json: Print the figures as JSON instead of tables.

    Returns:
        The figures by group; see `score`.

    Raises:
        ConfigError: `cuff_minutes` or `thin` is out of range.
        ModelError: The data or the model is unusable, or the report cannot be written.
    """
    if thin < 1:
        raise ConfigError(f"--every: a whole number from 1 up (every N-th record), not {thin}")
    if cuff_minutes is not None and not cuff_minutes > 0:
        raise ConfigError(f"--cuff-every: minutes above 0, once or never, not {cuff_minutes:g}")
    predictor = Predictor.load(model)
    other = None if against is None else Predictor.load(against)
    manifest = predictor.manifest
    if manifest.relative and cuff_minutes is None:
        raise ConfigError(
            f"{predictor.id} gives no pressures without a cuff reading; use --cuff-every once"
        )
    population, tables = _population(manifest), Tables.of(manifest.calibration, manifest.intervals)
    entries = of_split(read_index(data), split)[::thin]
    if report is not None:
        check_report(report, _inputs(data, entries, model, manifest))
    if population is None:
        print(
            f"no population baseline: the manifest of {predictor.id} has no population_mmhg",
            file=sys.stderr,
        )
    every = None if cuff_minutes is None else 60.0 * cuff_minutes
    evaluated = stream_records(data, entries, predictor, every, mode)
    if not evaluated:
        raise DataError(
            f"no beat of split {split!r} has a true counterpart; use other records or --split"
        )
    groups = score(evaluated, population, tables.level if tables else 0.0)
    title = f"{predictor.id} on {split}, {_calibration(cuff_minutes)}"
    title += ", low latency" if mode.latency == "low" else ""
    pair: dict[str, Any] = {}
    if other is not None:
        pair = compared(evaluated, stream_records(data, entries, other, every, mode))
    if as_json:
        whole = {"title": title, "groups": groups}
        print(strict_json(whole | ({"against": pair} if other is not None else {}), indent=2))
    else:
        show(title, groups)
        if other is not None:
            print("\n".join(["", *comparison(pair, other.id)]))
    if report is not None:
        write_report(report, title, groups, evaluated)
    return groups


def _population(manifest: Manifest) -> list[float] | None:
    """Return the mean SBP, DBP, MAP of the training subjects, mmHg; None if not in the manifest."""
    means = manifest.training.get("population_mmhg")
    try:
        return None if means is None else [float(means[name]) for name in PRESSURES]
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"{manifest.id}: population_mmhg is not sbp, dbp and map; export the model again"
        ) from None


def _inputs(
    data: Path, entries: list[IndexEntry], model: Path | None, manifest: Manifest
) -> list[Path]:
    """Return the files that the evaluation reads."""
    folder, path = folder_of(data), SHIPPED if model is None else model
    model_folder = path if path.is_dir() else path.parent
    files = [model_folder / name for name in (NAME, *manifest.files)]
    return [folder / "index.csv", *(folder / entry.file for entry in entries), path, *files]


def _calibration(cuff_minutes: float | None) -> str:
    if cuff_minutes is None:
        return "without a cuff reading"
    if math.isinf(cuff_minutes):
        return "one cuff reading at the start"
    return f"a cuff reading every {cuff_minutes:g} minutes"


__all__ = ["EvaluatedRecord", "evaluate"]
