"""The calibration's tables: left-out subjects, coverage, and what the manifest gets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from innpar.models.calibration.tables import DIFFICULTY, Tables
from innpar.models.training.config import IntervalConfig, NetworkConfig, RunConfig, TrainConfig
from innpar.models.training.crossfit import crossfit, fit
from innpar.models.training.left_out import LeftOutErrors
from innpar.models.training.subject_folds import deal
from innpar.stream.evaluation.dataset import split_windows, training_matrix
from support.training_data import write_index, write_record


def drawn(subjects: int, each: int, seed: int) -> LeftOutErrors:
    """Return errors whose size follows the difficulty, every subject with its own spread."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), each)
    hard = np.abs(rng.normal(1.0, 0.5, (len(subject), len(DIFFICULTY))))
    hard[:, 0] = 1.0
    spread = (2.0 + 4.0 * hard[:, 1]) * np.exp(rng.normal(0.0, 0.2, subjects))[subject]
    return LeftOutErrors(rng.normal(0.0, 1.0, (len(subject), 3)) * spread[:, None], hard, subject)


@pytest.mark.parametrize("level", [0.9, 0.75])
def test_half_widths_cover_new_subjects(level: float) -> None:
    seen, new = drawn(40, 300, 0), drawn(40, 300, 1)
    made = fit(seen, seen, 40, level)
    tables = Tables.of(made["calibration"], made["intervals"])
    assert tables is not None
    widths = new.difficulty @ tables.calibrated.T
    coverage = (np.abs(new.error) <= widths).mean(axis=0)
    assert tables.level == level
    assert coverage == pytest.approx([level] * 3, abs=0.03)
    assert (np.abs(new.error) <= tables.uncalibrated).mean() == pytest.approx(level, abs=0.04)
    # Harder windows get wider intervals, though the errors' mean is the same everywhere.
    assert (tables.calibrated[:, 1] > tables.calibrated[:, 2:].max(axis=1)).all()


def test_a_subject_with_many_windows_does_not_decide() -> None:
    few, many = drawn(20, 50, 0), drawn(1, 5000, 1)
    quiet = LeftOutErrors(
        np.concatenate([few.error, 0.01 * many.error]),
        np.concatenate([few.difficulty, many.difficulty]),
        np.concatenate([few.subject, many.subject + 20]),
    )
    alone = fit(few, few, 20, 0.9)["intervals"]["uncalibrated"]["sbp"]
    both = fit(quiet, quiet, 21, 0.9)["intervals"]["uncalibrated"]["sbp"]
    assert both == pytest.approx(alone, rel=0.1)


def test_tables_come_from_networks_that_never_saw_the_subject(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    rows = []
    for k in range(4):
        write_record(tmp_path, f"made/{k}.npz", 125.0, seconds=200, lag=0.4 + 0.01 * k)
        rows.append((f"made/{k}.npz", f"s{k}", "train", 125.0))
    write_index(tmp_path, rows)
    windows = split_windows(tmp_path, "train")
    assert sorted(deal(windows, 2).tolist()) == [0, 0, 1, 1]
    config = TrainConfig(
        network=NetworkConfig(blocks=1, features=4), run=RunConfig(steps=3, batch=4, device="cpu")
    )
    matrix = training_matrix()
    made = crossfit(config, windows, matrix, tmp_path / "out", folds=2)
    assert Tables.of(made["calibration"], made["intervals"]) is not None
    assert made["intervals"]["subjects"] == 4
    assert made["intervals"]["level"] == 0.9
    again = crossfit(config, windows, matrix, tmp_path / "out", folds=2)
    assert again == made
    # Another level needs no other networks.
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    narrow = dataclasses.replace(config, intervals=IntervalConfig(0.5))
    other = crossfit(narrow, windows, matrix, tmp_path / "out", folds=2)["intervals"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == weights
    assert other["level"] == 0.5
    assert other["uncalibrated"]["sbp"] < made["intervals"]["uncalibrated"]["sbp"]
    assert (tmp_path / "out" / "tables.json").is_file()
