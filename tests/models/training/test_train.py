"""Training: it learns, it resumes bit for bit, and it never leaves half a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from innpar.models.calibration.context import CONTEXT
from innpar.models.data.recordings import Windows
from innpar.models.data.sampling import Sampler, Sampling
from innpar.models.errors import DataError
from innpar.models.training.config import TrainConfig, read_config
from innpar.models.training.journal import Journal
from innpar.models.training.train import train
from innpar.models.training.trainer import Trainer
from innpar.models.training.validate import held_cuffs
from innpar.stream.evaluation.dataset import split_windows
from support.paths import ROOT
from support.training import CONFIG, MATRIX
from support.training_data import write_index, write_record


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Windows]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "made").mkdir()
    write_record(folder, "made/one.npz", 125.0, seconds=300)
    write_record(folder, "made/two.npz", 125.0, seconds=240, lag=0.45)
    rows = [("made/one.npz", "a", "train", 125.0), ("made/two.npz", "b", "val", 125.0)]
    write_index(folder, rows)
    return split_windows(folder, "train"), split_windows(folder, "val")


def state(folder: Path) -> dict[str, object]:
    return dict(torch.load(folder / "checkpoint.pt", weights_only=True))


@pytest.mark.slow
def test_an_interrupted_run_ends_bit_for_bit_as_a_straight_one(
    splits: tuple[Windows, Windows], tmp_path: Path
) -> None:
    train(CONFIG, *splits, MATRIX, tmp_path / "straight")
    train(CONFIG, *splits, MATRIX, tmp_path / "cut", stop_at=5)
    assert state(tmp_path / "cut")["step"] == 5
    train(CONFIG, *splits, MATRIX, tmp_path / "cut", resume=True)
    straight, cut = state(tmp_path / "straight"), state(tmp_path / "cut")
    assert straight["generator"] == cut["generator"]
    for part in ("model", "average"):
        one, other = straight[part], cut[part]
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        assert all(torch.equal(one[key], other[key]) for key in one)
    same = (tmp_path / name / "average.safetensors" for name in ("straight", "cut"))
    assert len({path.read_bytes() for path in same}) == 1
    steps = [row["step"] for row in Journal(tmp_path / "cut" / "training.csv").rows]
    assert steps == [4, 8]
    assert (tmp_path / "cut" / "training.png").stat().st_size > 1000


@pytest.mark.slow
def test_training_lowers_the_loss(splits: tuple[Windows, Windows]) -> None:
    run = dataclasses.replace(CONFIG.run, steps=150, batch=16, learning_rate=5e-3)
    config = dataclasses.replace(CONFIG, run=run)
    trainer = Trainer(config, Sampler(splits[0], MATRIX, config.sampling))
    losses = [trainer.advance() for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_a_subject_on_both_sides_is_refused(
    splits: tuple[Windows, Windows], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="both training and validation"):
        train(CONFIG, splits[0], splits[0], MATRIX, tmp_path)


def test_contexts_are_zero_exactly_where_a_window_is_not_calibrated(
    splits: tuple[Windows, Windows],
) -> None:
    drawn = Sampler(splits[0], MATRIX, Sampling()).draw(200, np.random.default_rng(0))
    calibrated = drawn.context[:, CONTEXT.index("calibrated")] == 1
    assert 0.3 < calibrated.mean() < 0.8
    assert not drawn.context[~calibrated].any()
    assert drawn.ppg.std(axis=1) == pytest.approx(np.ones(200), abs=1e-4)


def test_pressures_move_with_their_reading(splits: tuple[Windows, Windows]) -> None:
    always = Sampling(uncalibrated=0.0, moved=1.0, move=20.0, stretch=0.0, cuff_noise=0.0)
    drawn = Sampler(splits[0], MATRIX, always).draw(200, np.random.default_rng(0))
    calibrated = drawn.context[:, 0] == 1
    cuff = drawn.context[calibrated, CONTEXT.index("cuff_dbp")]
    lowest = drawn.abp[calibrated].min(axis=1)
    assert lowest.std() > 0.3
    assert np.corrcoef(cuff, lowest)[0, 1] > 0.99


def test_what_is_told_of_the_pulse_is_blurred_and_often_left_out(
    splits: tuple[Windows, Windows],
) -> None:
    now = [k for k, name in enumerate(CONTEXT) if name.startswith("now_")]
    change = [k for k, name in enumerate(CONTEXT) if name.startswith("change_")]
    plain = Sampling(uncalibrated=0.0, change_noise=0.0, pulse_noise=0.0, hidden=0.0)
    drawn = {}
    for name, sampling in (("plain", plain), ("hidden", dataclasses.replace(plain, hidden=1.0))):
        drawn[name] = Sampler(splits[0], MATRIX, sampling).draw(200, np.random.default_rng(0))
    blurred = dataclasses.replace(plain, change_noise=0.5, pulse_noise=1.0)
    noisy = Sampler(splits[0], MATRIX, blurred).draw(200, np.random.default_rng(0)).context
    clear = drawn["plain"].context
    known = clear[:, 0] == 1
    assert not drawn["hidden"].context[:, now].any()
    assert (drawn["hidden"].context[:, change] == clear[:, change]).all()
    assert (noisy - clear)[known][:, change].std() == pytest.approx(0.5, rel=0.05)
    assert (noisy - clear)[known][:, now].std() == pytest.approx(1.0, rel=0.05)
    assert (noisy[:, :4] == clear[:, :4]).all()


def test_held_readings_are_earlier_and_never_too_old(splits: tuple[Windows, Windows]) -> None:
    held = held_cuffs(splits[1], MATRIX, every=60.0)
    assert (held.seconds > 0).all()
    assert held.seconds.max() < 130
    assert held.contexts().shape == (len(held.ppg), len(CONTEXT))


def test_the_shipped_configuration_reads() -> None:
    config = read_config(ROOT / "configs" / "train.toml")
    assert config.run.steps > 1000
    assert config.sampling.weights["vitaldb_50hz"] < 1
    assert config.intervals.level == 0.9


def test_the_level_of_the_intervals_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("[intervals]\nlevel = 0.75\n")
    assert read_config(path).intervals.level == 0.75
    assert read_config(path).as_dict() == TrainConfig().as_dict()
