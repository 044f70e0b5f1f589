"""Evaluation through the live pipeline: stream, judge, print, and write a report."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from ..models.calibrate import Tables
from ..models.data import DataError, Entry, folder_of, of_split, read_index
from ..models.errors import ModelError
from ..models.manifest import NAME, Manifest
from ..models.predictor import SHIPPED, Predictor
from .errors import ConfigError
from .judged import Judged, stream_records
from .score import PRESSURES, score


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
        from .report import check_report

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
        print(json.dumps({"title": title, "groups": groups}, indent=2))
    else:
        show(title, groups)
    if report is not None:
        from .report import write_report

        write_report(report, title, groups, judged)
    return groups


def _population(manifest: Manifest) -> list[float] | None:
    """Return the training subjects' means; None where the manifest does not tell them."""
    trained = manifest.training.get("population_mmhg")
    try:
        return None if trained is None else [float(trained[name]) for name in PRESSURES]
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{manifest.id}: population_mmhg is not sbp, dbp and map") from None


def _inputs(data: Path, entries: list[Entry], model: Path | None, manifest: Manifest) -> list[Path]:
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


def show(title: str, groups: dict[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console

    console = Console(width=110, soft_wrap=True)
    console.print(title, style="bold")
    for name, group in groups.items():
        console.print(
            f"\n{name}: {group['subjects']} subjects, {group['records']} records, "
            f"{group['hours']} h, {group['beats']} beats, {group['rejected']:.1%} rejected"
        )
        console.print(errors_table(group))
        for line in notes(group):
            console.print(line)


def errors_table(group: dict[str, Any]) -> Any:
    """Return the table of ME ± SD and MAE of one group."""
    from rich.table import Table

    table = Table(expand=False)
    for heading in ("mmHg", *(f"{p.upper()} {w}" for p in PRESSURES for w in ("ME ± SD", "MAE"))):
        table.add_column(heading, no_wrap=True)
    for unit in ("per_beat", "per_30_s"):
        for name in ("model", "held", "population"):
            if name in group[unit]:
                cells = []
                for pressure in PRESSURES:
                    row = group[unit][name][pressure]
                    cells += [f"{row['me']:+.1f} ± {row['sd']:.1f}", f"{row['mae']:.2f}"]
                table.add_row(f"{name}, {unit.replace('_', ' ')}", *cells)
    return table


def notes(group: dict[str, Any]) -> list[str]:
    """Return what a table of errors leaves out, a line each."""
    lines = []
    per_beat = group["per_beat"]
    for base in ("held", "population"):
        if base in per_beat:
            gains = (
                f"{p.upper()} {1 - per_beat['model'][p]['mae'] / per_beat[base][p]['mae']:+.0%}"
                for p in PRESSURES
                if per_beat[base][p]["mae"] > 0
            )
            lines.append(f"below {base}: " + ", ".join(gains))
    lines.append(f"heart rate MAE {group['heart_rate']['mae']} a minute")
    for pressure in PRESSURES:
        s = group["standards"][pressure]
        within = "/".join(f"{v:.0f}" for v in s["within_5_10_15"])
        met = "met" if s["aami_numbers_met"] else "not met"
        lines.append(
            f"{pressure.upper()}: AAMI numbers {met} ({s['aami_subjects']} subjects), IEEE 1708 "
            f"{s['ieee_1708']}, BHS {s['bhs']} ({within} % within 5/10/15)"
        )
    if group["waveform"]:
        lines.append("waveform: " + ", ".join(f"{k} {v}" for k, v in group["waveform"].items()))
    for row in group.get("by_minutes_since_cuff", []):
        span = f"{row['from']:g}–{row['to']:g} min" if row["to"] else f"over {row['from']:g} min"
        both = (" / ".join(f"{v:.1f}" for v in row["mae"][n]) for n in ("model", "held"))
        lines.append(f"{span} since the cuff: " + " against held ".join(both))
    for pressure in PRESSURES if "intervals" in group else ():
        i = group["intervals"][pressure]
        low, high = i["bootstrap_95"]
        text = (
            f"{pressure.upper()} {100 * group['intervals']['level']:g} % interval: covers "
            f"{i['coverage']:.1%} ({low:.0%}–{high:.0%}), by subject "
            f"{' '.join(f'{v:.0%}' for v in sorted(i['by_subject'].values()))}, "
            f"{i['mean_width']:.1f} mmHg wide"
        )
        if "narrower_by" in i:
            text += f", held {i['held_width_of_equal_coverage']:.1f} ({i['narrower_by']:+.0%})"
        lines.append(text)
    return lines


__all__ = ["Judged", "evaluate"]
