"""One command from recordings to a usable model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_data import write_index, write_record

from innpar.models.data import DataError
from innpar.models.predictor import Predictor
from innpar.stream.training import train

CONFIG = """
[network]
blocks = 1
features = 4

[run]
device = "cpu"
steps = 4
batch = 4
validate_every = 2
save_every = 2
cuff_minutes = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    rows = []
    for k, split in enumerate(["train", "val"]):
        write_record(tmp_path, f"made/{k}.npz", 125.0, seconds=200)
        rows.append((f"made/{k}.npz", f"s{k}", split, 125.0))
    write_index(tmp_path, rows)
    (tmp_path / "train.toml").write_text(CONFIG)
    return tmp_path


def test_a_model_comes_out_and_says_where_it_comes_from(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    assert train(folder, folder / "train.toml", out, tables=False) == 0
    predictor = Predictor.load(out / "model")
    assert predictor.id in capsys.readouterr().out
    manifest = predictor.manifest
    assert manifest.training["subjects"] == 1
    assert manifest.training["steps"] == 4
    assert manifest.metrics["split"] == "val"
    assert manifest.training["population_mmhg"]["sbp"] == pytest.approx(120.0, abs=1.0)
    assert (out / "model" / "training.csv").read_text().count("\n") == 3
    wave = np.sin(2 * np.pi * 1.2 * np.arange(640) / 125.0)[None]
    assert predictor(wave).abp.shape == (1, 640)


def test_resuming_a_finished_run_makes_the_same_model(folder: Path) -> None:
    ids = []
    for resume in (False, True):
        train(folder, folder / "train.toml", folder / "out", resume=resume, tables=False)
        ids.append(Predictor.load(folder / "out" / "model").id)
    assert ids[0] == ids[1]


def test_a_missing_split_is_named(folder: Path) -> None:
    write_index(folder, [("made/0.npz", "s0", "train", 125.0)])
    with pytest.raises(DataError, match="no record in split 'val'"):
        train(folder, folder / "train.toml", folder / "out")
