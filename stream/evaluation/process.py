"""``innpar-stream model process``: how all cuff readings of a wearer count, learnt and judged."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.tables import Tables
from innpar.models.data.index import of_split, read_index
from innpar.models.data.recordings import Windows
from innpar.models.errors import DataError
from innpar.models.manifest import NAME, Manifest, verified_bytes
from innpar.models.predictor import Predictor
from innpar.models.training.config import read_config
from innpar.models.training.journal import make_folder, replace
from innpar.models.training.process_rows import ProcessRows, process_rows
from innpar.models.training.process_table import (
    READING_SECONDS,
    LeftOutLevels,
    process_table,
)
from innpar.models.training.progress import progress_bar
from innpar.models.training.subject_folds import FOLDS, deal, left_out
from innpar.stream.errors import ConfigError
from innpar.stream.evaluation.dataset import training_matrix, training_windows
from innpar.stream.evaluation.subjects import PRESSURES, READINGS, SubjectErrors

CONFIG = Path(__file__).parents[2] / "configs" / "process.toml"
THIN = 3
"""Every so many-th window of a record is used."""


def refit_process(model: Path, out: Path, data: Path, *, folds: int = FOLDS) -> Manifest:
    """Learn the process; write the model with it to `out`, weights unchanged.

    Networks are trained, each without a quarter of the subjects of split ``train``
    (``configs/process.toml``); they are kept in ``out/crossfit``, and an interrupted training goes
    on there. The process is learnt from the subjects that they left out, and the figures of these
    are printed.

    Args:
        model: A ``manifest.json`` or its folder.
        out: Model folder to write.
        data: The data folder.
        folds: Networks to train, 2 to 4; with fewer than 4 some subjects are never left out.

    Raises:
        ModelError: The data or the model is unusable, or a file cannot be written.
    """
    if not 2 <= folds <= FOLDS:
        raise ConfigError(f"--folds: 2 to {FOLDS}, not {folds}")
    former = Predictor.load(model).manifest
    tables = Tables.of(former.calibration, former.intervals)
    if tables is None:
        raise ConfigError(f"{former.id} has no calibration tables; train it with tables first")
    make_folder(out)
    rows = _folds(former, tables, out / "crossfit", data, folds)
    table, found = process_table(rows, tables.level)
    calibration = {**former.calibration, "process": table}
    manifest = dataclasses.replace(former, calibration=calibration)
    source = model if model.is_dir() else model.parent
    for name in former.files:
        replace(out / name, verified_bytes(source, former, name))
    replace(out / NAME, manifest.to_json().encode())
    for line in figures(found):
        print(line)
    print(f"half-widths per SD: {table['widen']}")
    return manifest


def _folds(
    manifest: Manifest, tables: Tables, out: Path, data: Path, count: int
) -> list[list[ProcessRows]]:
    """Return the records of the first `count` folds, by the networks trained without them."""
    known = manifest.training.get("windows_by_source", {})
    entries = [e for e in of_split(read_index(data), "train") if e.source in known]
    if not entries:
        raise DataError(f"{data} has no record of the sources that {manifest.id} was trained on")
    windows, matrix = training_windows(data, entries), training_matrix()
    fold_of, thin = deal(windows, FOLDS), _thinned(windows)
    subjects = [windows.subjects.index(entry.subject) for entry in windows.entries]
    folds: list[list[ProcessRows]] = []
    with progress_bar() as progress:
        networks = left_out(read_config(CONFIG), windows, fold_of, matrix, out, progress)
        for k, network in enumerate(itertools.islice(networks, count)):
            own = [r for r, subject in enumerate(subjects) if fold_of[subject] == k]
            rows = process_rows(network, thin, own, matrix, manifest.drop, tables, READING_SECONDS)
            folds.append(list(progress.track(rows, len(own), description=f"fold {k + 1}")))
    return folds


def _thinned(windows: Windows) -> Windows:
    """Return every `THIN`-th window of each record."""
    place = np.arange(len(windows)) - np.searchsorted(windows.record, windows.record)
    return windows.of(np.flatnonzero(place % THIN == 0))


def figures(found: LeftOutLevels) -> list[str]:
    """Return lines on left-out subjects, by group of sources and by number of the reading."""
    surgery = np.char.startswith(found.source, "vitaldb")
    lines: list[str] = []
    for name, chosen in (("vitaldb", surgery), ("other sources", ~surgery)):
        if chosen.any():
            lines += _gains(name, found.of(chosen))
    part = found.of(surgery) if surgery.any() else found
    for first, last in READINGS:
        here = (part.number >= first) & (part.number <= (last or part.number.max()))
        if here.any():
            some = part.of(here)
            held = _mae(some.held)
            each = (_shares(1 - _mae(e) / held) for e in (some.published, some.corrected))
            lines.append(f"reading {first}–{last or ''}: " + " against ".join(each) + " below held")
    return lines


def _gains(name: str, found: LeftOutLevels) -> list[str]:
    errors = {n: getattr(found, n) for n in ("published", "corrected", "held")}
    table = SubjectErrors(errors, found.subject)
    lines = [f"{name}: {len(table.count)} left-out subjects, {len(found.subject)} windows"]
    for one in errors:
        gain, _ = table.gain(one, "held")
        mae = "/".join(f"{v:.1f}" for v in _mae(errors[one]))
        lines.append(f"  {one:10}{mae} mmHg, {_shares(gain)} below held")
    value, (low, high) = table.difference("published", "corrected")
    each = (
        f"{p.upper()} {value[k]:+.2f} ({low[k]:+.2f} to {high[k]:+.2f})"
        for k, p in enumerate(PRESSURES)
    )
    return [*lines, "  published minus corrected, mmHg: " + ", ".join(each)]


def _mae(error: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.abs(error).mean(axis=0))


def _shares(values: npt.NDArray[np.float64]) -> str:
    return "/".join(f"{v:.0%}" for v in values)
