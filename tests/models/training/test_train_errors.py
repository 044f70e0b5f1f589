"""Errors that a user can cause in `train`: one line that says what to do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from innpar.models.data.sampling import Sampler
from innpar.models.errors import DataError
from innpar.models.training.config import NetworkConfig, RunConfig, TrainConfig, read_config
from innpar.models.training.crossfit import crossfit
from innpar.models.training.journal import TrainingStopped, replace
from innpar.models.training.train import train
from innpar.models.training.trainer import Trainer, device_of
from innpar.stream.cli.main import main
from support.sessions import mount_small, unmount
from support.training import CONFIG, MATRIX, made, run
from support.training_data import write_index, write_record

Small = Callable[[int], Path]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """Mount a file system of so many pages of 4 KB."""
    folder = tmp_path / "small"

    def mounted(pages: int) -> Path:
        if why := mount_small(folder, 4 * pages):
            pytest.skip(f"no small file system here: {why}")
        return folder

    yield mounted
    if folder.is_mount():
        unmount(folder)


def pages(path: Path) -> int:
    return math.ceil(path.stat().st_size / 4096)


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    windows, _ = made(tmp_path / "data", subjects=1)
    trainer = Trainer(CONFIG, Sampler(windows, MATRIX, CONFIG.sampling))
    trainer.advance()
    return trainer


def test_a_full_disk_leaves_the_earlier_checkpoint(
    trainer: Trainer, tmp_path: Path, small: Small
) -> None:
    names = ("checkpoint.pt", "average.safetensors")
    trainer.save(tmp_path)
    folder = small(sum(pages(tmp_path / name) for name in names) + 4)
    trainer.save(folder)
    before = {name: (folder / name).read_bytes() for name in names}
    trainer.advance()
    with pytest.raises(
        TrainingStopped, match=r"checkpoint\.pt .*\(No space left.* earlier one is intact"
    ):
        trainer.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_disk_that_is_full_after_the_checkpoint_is_one_line_too(
    trainer: Trainer, tmp_path: Path, small: Small
) -> None:
    trainer.save(tmp_path)
    folder = small(pages(tmp_path / "checkpoint.pt") + 4)
    with pytest.raises(
        TrainingStopped, match=r"average\.safetensors could not .*No space left"
    ) as caught:
        trainer.save(folder)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"earlier")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="the earlier one is intact"):
        replace(path, b"half")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nstepz = 3", "[run] has no stepz; known are average, batch"),
        ("[runs]\nsteps = 3", "unknown section 'runs'"),
        ("[run", "train.toml: not valid TOML"),
        ('[run]\nsteps = "x"', "[run] steps should be a valid integer, not 'x'"),
        ("[run]\nsteps = true", "[run] steps should be a valid integer, not True"),
        ("[run]\nvalidate_every = 0", "[run] validate_every should be greater than or equal to 1"),
        ("[run]\nsave_every = 0", "[run] save_every"),
        ("[run]\nthreads = 0", "[run] threads"),
        ("[run]\nbatch = 0", "[run] batch"),
        ("[run]\nedge = 0", "[run] edge"),
        ("[run]\nlearning_rate = nan", "[run] learning_rate should be a finite number, not nan"),
        ('[run]\ndevice = "tpu"', "[run] device should be auto, cpu, cuda or cuda:N, not 'tpu'"),
        ("run = 3", "run is 3, not a section: [run]"),
        ("[network]\nkernel = 4", "[network] kernel should be odd, not 4"),
        ("[network]\nblocks = 0", "[network] blocks"),
        ("[network]\nfeatures = 0", "[network] features"),
        ("[sampling]\nhidden = 2", "[sampling] hidden should be less than or equal to 1, not 2"),
        ("[sampling]\nnoise = 0", "[sampling] noise"),
        ('[sampling.weights]\nmade = "much"', "[sampling] weights.made"),
        ("[intervals]\nlevel = 90", "[intervals] level should be less than 1, not 90"),
        ('[model]\nname = "My model"', "[model] name"),
    ],
)
def test_a_configuration_that_cannot_be_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text + "\n")
    with pytest.raises(DataError) as caught:
        read_config(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_not_there_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.toml: cannot be read \(No such file"):
        read_config(tmp_path / "train.toml")
    (tmp_path / "train.toml").write_bytes(b"[run]\n# \xe9\n")
    with pytest.raises(DataError, match=r"train\.toml: not valid TOML"):
        read_config(tmp_path / "train.toml")


def test_a_gpu_that_is_not_there_is_reported() -> None:
    missing = f"cuda:{torch.cuda.device_count() if torch.cuda.is_available() else 0}"
    with pytest.raises(DataError, match=r"there is no such GPU"):
        device_of(RunConfig(device=missing))


def test_a_training_that_diverges_stops_and_says_so(tmp_path: Path) -> None:
    splits = made(tmp_path / "data", subjects=1)
    wild = run(learning_rate=1e30, warm_up=0, validate_every=100, steps=50)
    with pytest.raises(
        TrainingStopped, match=r"the training diverged; lower \[run\] learning_rate"
    ):
        train(wild, *splits, MATRIX, tmp_path / "out")


def test_a_last_step_that_diverges_is_not_released(tmp_path: Path) -> None:
    splits = made(tmp_path / "data", subjects=1)
    wild = run(learning_rate=1e30, warm_up=0, steps=1, average=0.0)
    with pytest.raises(TrainingStopped, match="after step 1 the network's output is not finite"):
        train(wild, *splits, MATRIX, tmp_path / "out")


def test_an_edge_that_leaves_nothing_and_weights_that_leave_nothing_are_reported(
    tmp_path: Path,
) -> None:
    splits = made(tmp_path / "data", subjects=1)
    with pytest.raises(DataError, match="edge is 320, which leaves nothing of 640"):
        train(run(edge=320), *splits, MATRIX, tmp_path / "out")
    nothing = TrainConfig(CONFIG.network, CONFIG.run, read_weights(tmp_path))
    with pytest.raises(DataError, match="weights leave no window"):
        train(nothing, *splits, MATRIX, tmp_path / "out")


def read_weights(folder: Path) -> object:
    path = folder / "weights.toml"
    path.write_text("[sampling.weights]\nmade = 0\n")
    return read_config(path).sampling


def test_recordings_too_few_or_too_short_for_a_cross_fit_are_reported(tmp_path: Path) -> None:
    config = TrainConfig(NetworkConfig(1, 4), RunConfig(steps=1, batch=2, device="cpu"))
    windows, _ = made(tmp_path / "one", subjects=1)
    with pytest.raises(DataError, match="at least two training subjects"):
        crossfit(config, windows, MATRIX, tmp_path / "out")
    (tmp_path / "made").mkdir()
    for k in range(2):
        write_record(tmp_path, f"made/{k}.npz", 125.0, seconds=50)
    write_index(tmp_path, [(f"made/{k}.npz", f"s{k}", "train", 125.0) for k in range(2)])
    from innpar.stream.evaluation.dataset import split_windows

    with pytest.raises(DataError, match="no record lasts 60 s"):
        crossfit(config, split_windows(tmp_path, "train"), MATRIX, tmp_path / "out")


def test_validation_records_too_short_for_a_reading_are_reported(tmp_path: Path) -> None:
    windows, check = made(tmp_path / "data", subjects=1)
    short = check.of(np.arange(len(check)) < 2)
    with pytest.raises(DataError, match="no validation record has windows after the cuff reading"):
        train(CONFIG, windows, short, MATRIX, tmp_path / "out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made(tmp_path / "data", subjects=1)
    (tmp_path / "train.toml").write_text("[run]\nsteps = 1\n")
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    config = str(folder / "train.toml")
    return ["train", "--data", str(folder / "data"), "--config", config, "--no-tables", *more]


def test_a_file_in_place_of_the_folder_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").write_text("")
    assert main(command(folder, "--out", str(folder / "out"))) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "out cannot be created (File exists)" in printed
    assert main(command(folder, "--out", str(folder / "out" / "in"))) == 2
    assert "Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_damaged_recording_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    path = folder / "data" / "made" / "0.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    data = ["--data", str(folder / "data")]
    evaluate = ["evaluate", "--split", "train", *data]
    arguments = evaluate if verb == "evaluate" else command(folder, "--out", str(folder / "out"))
    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("innpar-stream: ")
    assert "made/0.npz cannot be read as a record: Bad CRC-32" in last


def test_one_subject_is_too_few_for_tables_and_said_before_the_training(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        word for word in command(folder, "--out", str(folder / "out")) if "tables" not in word
    ]
    assert main(arguments) == 2
    assert "train with --no-tables" in capsys.readouterr().err.splitlines()[-1]
    assert not list((folder / "out").iterdir())


def test_a_divergence_after_the_start_is_status_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train.toml").write_text(
        "[network]\nblocks = 1\nfeatures = 2\n"
        "[run]\nsteps = 9\nbatch = 2\nlearning_rate = 1e30\nwarm_up = 0\n"
    )
    assert main(command(folder, "--out", str(folder / "out"))) == 1
    assert "the training diverged" in capsys.readouterr().err.splitlines()[-1]
