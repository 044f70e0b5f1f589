"""Checkpoints: an interrupted run continues bit for bit, and only from its own checkpoint."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from innpar.models.data.recordings import Windows
from innpar.models.errors import DataError
from innpar.models.training.checkpoint import fingerprint, index_digest
from innpar.models.training.crossfit import crossfit
from innpar.models.training.journal import Journal
from innpar.models.training.train import train
from support.training import CONFIG, MATRIX, made, run


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Windows]:
    return made(tmp_path_factory.mktemp("data") / "one")


def log_of(folder: Path) -> list[dict[str, str]]:
    """Return the training log without the time it took."""
    with (folder / "training.csv").open(newline="") as lines:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(lines)]


def test_the_log_of_a_resumed_run_is_that_of_a_straight_one(
    splits: tuple[Windows, Windows], tmp_path: Path
) -> None:
    config = run(save_every=3, validate_every=4)
    train(config, *splits, MATRIX, tmp_path / "straight")
    for stop in (3, 6, None):
        train(config, *splits, MATRIX, tmp_path / "cut", resume=stop != 3, stop_at=stop)
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "straight")


@pytest.mark.parametrize(("steps", "expected"), [(5, [2, 4, 5]), (1, [1])])
def test_the_last_step_is_validated(
    splits: tuple[Windows, Windows], tmp_path: Path, steps: int, expected: list[int]
) -> None:
    config = run(steps=steps, validate_every=2)
    train(config, *splits, MATRIX, tmp_path)
    assert [int(row["step"]) for row in log_of(tmp_path)] == expected
    train(config, *splits, MATRIX, tmp_path, resume=True)
    assert [int(row["step"]) for row in log_of(tmp_path)] == expected


def test_resuming_wants_a_checkpoint_of_the_same_configuration_and_recordings(
    splits: tuple[Windows, Windows], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="omit --resume"):
        train(CONFIG, *splits, MATRIX, tmp_path, resume=True)
    train(CONFIG, *splits, MATRIX, tmp_path, stop_at=2)
    with pytest.raises(DataError, match="another configuration"):
        train(run(seed=2), *splits, MATRIX, tmp_path, resume=True)
    windows, check = splits
    louder = dataclasses.replace(windows, abp=windows.abp + np.float32(1.0))
    with pytest.raises(DataError, match="other recordings"):
        train(CONFIG, louder, check, MATRIX, tmp_path, resume=True)
    train(run(steps=9), *splits, MATRIX, tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "flipped"])
def test_a_damaged_checkpoint_is_one_line(
    splits: tuple[Windows, Windows], tmp_path: Path, damage: str
) -> None:
    train(CONFIG, *splits, MATRIX, tmp_path, stop_at=2)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    path.write_bytes(
        {
            "truncated": content[:middle],
            "garbage": b"no checkpoint",
            "empty": b"",
            "flipped": content[:middle] + flipped + content[middle + 1 :],
        }[damage]
    )
    with pytest.raises(DataError, match=r"checkpoint\.pt .* without --resume$") as caught:
        train(CONFIG, *splits, MATRIX, tmp_path, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_interrupted_fold_goes_on_and_gives_the_same_tables(
    splits: tuple[Windows, Windows],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, windows = run(steps=6, save_every=2), splits[0]
    expected = crossfit(config, windows, MATRIX, tmp_path / "straight", folds=2)
    fsync, left = os.fsync, iter(range(2))  # each save is two files: in the second

    def interrupted(descriptor: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crossfit(config, windows, MATRIX, tmp_path / "cut", folds=2)
    monkeypatch.setattr(os, "fsync", fsync)
    with caplog.at_level("INFO"):
        assert crossfit(config, windows, MATRIX, tmp_path / "cut", folds=2) == expected
    assert "fold 1 of 2 continues after step 2" in caplog.text
    assert "fold 2 of 2 starts" in caplog.text
    for k in range(2):
        one, other = (
            (tmp_path / name / f"fold{k}" / "average.safetensors").read_bytes()
            for name in ("straight", "cut")
        )
        assert one == other


@pytest.mark.slow
def test_folds_of_other_recordings_or_another_length_begin_anew(
    splits: tuple[Windows, Windows], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows = splits[0]
    other, _ = made(tmp_path / "two", lag=0.35)
    config = run(steps=2)
    crossfit(config, windows, MATRIX, tmp_path / "out", folds=2)
    with caplog.at_level("INFO"):
        found = crossfit(config, other, MATRIX, tmp_path / "out", folds=2)
        assert caplog.text.count("other recordings") == 2
        crossfit(run(steps=3), other, MATRIX, tmp_path / "out", folds=2)
        assert caplog.text.count("another configuration") == 2
    assert found == crossfit(config, other, MATRIX, tmp_path / "fresh", folds=2)


def test_a_fingerprint_is_of_the_index_and_the_samples(splits: tuple[Windows, Windows]) -> None:
    windows, check = splits
    assert fingerprint(windows, check) == fingerprint(windows, check)
    assert fingerprint(windows) != fingerprint(windows, check)
    louder = dataclasses.replace(windows, ppg=windows.ppg * np.float32(2.0))
    assert fingerprint(louder) != fingerprint(windows)
    assert index_digest(louder) == index_digest(windows)
    first = dataclasses.replace(windows.entries[0], split="val")
    moved = dataclasses.replace(windows, entries=(first, *windows.entries[1:]))
    assert index_digest(moved) != index_digest(windows)
    rows = np.arange(len(windows)) > 3
    assert fingerprint(windows.of(rows)) != fingerprint(windows)


def test_a_log_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_text("step,loss\n4,low\n")
    with pytest.raises(DataError, match=r"training\.csv is not a training log"):
        Journal(tmp_path / "training.csv")
