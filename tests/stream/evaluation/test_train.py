"""One command from recordings to a usable model."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from innpar.models.data.index import of_split, read_index
from innpar.models.data.licence import licence_note
from innpar.models.errors import DataError
from innpar.models.predictor import Predictor
from innpar.models.training.checkpoint import index_digest
from innpar.models.training.config import ModelConfig, read_config
from innpar.stream.evaluation.dataset import training_windows
from innpar.stream.evaluation.train import CONFIG as SHIPPED
from innpar.stream.evaluation.train import train
from support.harness import need_data
from support.training_data import write_index, write_record

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_resuming_a_finished_run_makes_the_same_model(folder: Path) -> None:
    ids = []
    for resume in (False, True):
        train(folder, folder / "train.toml", folder / "out", resume=resume, tables=False)
        ids.append(Predictor.load(folder / "out" / "model").id)
    assert ids[0] == ids[1]


@pytest.mark.slow
def test_a_run_that_ends_between_validations_is_released_as_it_ended(folder: Path) -> None:
    config = folder / "train.toml"
    config.write_text(CONFIG.replace("steps = 4", "steps = 5"))
    train(folder, config, folder / "out", tables=False)
    assert Predictor.load(folder / "out" / "model").manifest.training["steps"] == 5
    config.write_text(CONFIG.replace("steps = 4", "steps = 1"))
    train(folder, config, folder / "short", tables=False)
    assert Predictor.load(folder / "short" / "model").manifest.training["steps"] == 1


@pytest.mark.slow
def test_a_run_prints_its_progress(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(folder, "made/2.npz", 125.0, seconds=200, lag=0.42)
    rows = [(f"made/{k}.npz", f"s{k}", ("train", "val", "train")[k], 125.0) for k in range(3)]
    write_index(folder, rows)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    train(folder, folder / "train.toml", folder / "out")
    printed = capsys.readouterr().err
    for line in ("step 2: loss", "step 4: loss", "fold 2 of 2 starts", "fold 2 evaluated"):
        assert line in printed
    bars = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", printed).splitlines()
    assert any(
        "cross-fit, fold 2 of 2" in line and "8/8" in line and "left" in line for line in bars
    )
    assert not logging.getLogger("innpar").handlers


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (
            ["vitaldb_50hz", "bidmc_125hz", "vitaldb_125hz", "mimic3_125hz"],
            "Research and non-commercial use: trained among others on VitalDB (CC BY-NC-SA 4.0), "
            "MIMIC-III waveforms (ODbL 1.0) and BIDMC (ODC-By 1.0).",
        ),
        (
            ["bidmc_125hz", "mimic3_125hz"],
            "Trained on MIMIC-III waveforms (ODbL 1.0) and BIDMC (ODC-By 1.0), whose terms hold.",
        ),
        (
            ["vitaldb_125hz"],
            "Research and non-commercial use: trained on VitalDB (CC BY-NC-SA 4.0).",
        ),
        (["own"], "Trained on recordings whose licence is not known here (own), whose terms hold."),
    ],
)
def test_the_licence_note_is_of_the_recordings(sources: list[str], says: str) -> None:
    assert licence_note(sources) == f"{says} No recording, nor a piece of one, is contained."


@pytest.mark.slow
def test_only_the_shipped_recordings_give_the_shipped_name(folder: Path) -> None:
    shipped, manifest = read_config(SHIPPED).model, Predictor.load().manifest
    assert shipped.of_index(shipped.index + "0" * 48) == shipped
    assert (shipped.name, shipped.version) == (manifest.name, manifest.version)
    assert shipped.of_index("f" * 64) == ModelConfig()
    assert ModelConfig().name != shipped.name
    named = CONFIG + '[model]\nname = "mine"\nversion = "7"\n'
    (folder / "train.toml").write_text(named)
    train(folder, folder / "train.toml", folder / "out", tables=False)
    made = Predictor.load(folder / "out" / "model").manifest
    assert (made.name, made.version) == ("mine", "7")
    assert "VitalDB" not in made.licence
    assert "model" not in made.training["config"]


@pytest.mark.real
@pytest.mark.slow
def test_the_shipped_manifest_agrees_with_its_recordings_and_configuration() -> None:
    data = need_data()
    manifest, config = Predictor.load().manifest, read_config(SHIPPED)
    sources = manifest.training["windows_by_source"]
    index = read_index(data)
    windows = [
        training_windows(data, [e for e in of_split(index, split) if e.source in sources])
        for split in ("train", "val")
    ]
    identity = config.model.of_index(index_digest(*windows))
    assert (identity.name, identity.version) == (manifest.name, manifest.version)
    assert licence_note(e.source for e in windows[0].entries) == manifest.licence
    assert config.as_dict() == manifest.training["config"]


@pytest.mark.slow
def test_the_weights_do_not_depend_on_the_number_of_cores(folder: Path) -> None:
    arguments = [
        "train",
        "--no-tables",
        "--data",
        str(folder),
        "--config",
        str(folder / "train.toml"),
    ]
    found = set()
    for threads in ("1", "2"):
        environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        out = folder / threads
        subprocess.run(
            [sys.executable, "-m", "innpar.stream.cli.main", *arguments, "--out", str(out)],
            env={**environment, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
        )
        found.add((out / "average.safetensors").read_bytes())
    assert len(found) == 1


def test_a_missing_split_is_named(folder: Path) -> None:
    write_index(folder, [("made/0.npz", "s0", "train", 125.0)])
    with pytest.raises(DataError, match="no record in split 'val'"):
        train(folder, folder / "train.toml", folder / "out")
