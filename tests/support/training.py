"""Small training runs: configuration, conditioning, windows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from innpar.models.data.recordings import Windows
from innpar.models.training.config import NetworkConfig, RunConfig, TrainConfig
from innpar.stream.evaluation.dataset import split_windows, training_matrix
from support.training_data import write_index, write_record

MATRIX = training_matrix()


CONFIG = TrainConfig(
    network=NetworkConfig(blocks=1, features=4),
    run=RunConfig(
        steps=8, batch=4, warm_up=2, validate_every=4, save_every=2, cuff_minutes=1, device="cpu"
    ),
)


def made(folder: Path, lag: float = 0.4, subjects: int = 3) -> tuple[Windows, Windows]:
    """Return training windows of some subjects and validation windows of one more."""
    (folder / "made").mkdir(parents=True)
    rows = []
    for k in range(subjects + 1):
        write_record(folder, f"made/{k}.npz", 125.0, seconds=200, lag=lag + 0.01 * k)
        rows.append((f"made/{k}.npz", f"s{k}", "train" if k < subjects else "val", 125.0))
    write_index(folder, rows)
    return split_windows(folder, "train"), split_windows(folder, "val")


def run(**changes: object) -> object:
    """Return `CONFIG` with changes of its section ``[run]``."""
    return dataclasses.replace(CONFIG, run=dataclasses.replace(CONFIG.run, **changes))
