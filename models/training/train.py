"""A training run: optimisation, validation, training log."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from innpar.models.data.recordings import Windows
from innpar.models.data.sampling import Sampler
from innpar.models.errors import DataError
from innpar.models.training.checkpoint import fingerprint
from innpar.models.training.config import TrainConfig
from innpar.models.training.journal import Journal, TrainingStopped, make_folder
from innpar.models.training.progress import progress_bar
from innpar.models.training.trainer import Trainer, device_of
from innpar.models.training.validate import Validation

log: logging.Logger = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    windows: Windows,
    check: Windows,
    matrix: npt.NDArray[np.float64],
    out: Path,
    *,
    resume: bool = False,
    stop_at: int | None = None,
) -> Path:
    """Train a network; return the path of its averaged weights.

    Args:
        config: Configuration.
        windows: Training windows.
        check: Validation windows; they do not influence the weights.
        matrix: Conditioning, (buffer, window); see `innpar.stream.windows.conditioning`.
        out: Folder for checkpoint.pt, average.safetensors, training.csv and training.png.
        resume: Continue from the checkpoint in `out`.
        stop_at: Step at which to stop; the run can be resumed. None for the configured end.

    Raises:
        ModelError: A subject is in both splits, there is no checkpoint to resume, the device is
            not available, a file cannot be written, or the training diverged.
    """
    shared = set(windows.subjects) & set(check.subjects)
    if shared:
        raise DataError(
            f"subject {sorted(shared)[0]} is in both training and validation; give it one split"
        )
    if 2 * config.run.edge >= matrix.shape[1]:
        raise DataError(
            f"[run] edge is {config.run.edge}, which leaves nothing of {matrix.shape[1]} samples; "
            "lower it"
        )
    make_folder(out)
    torch.set_num_threads(config.run.threads)
    validation = Validation(config, windows, check, matrix, device_of(config.run))
    sampler = Sampler(windows, matrix, config.sampling)
    trainer = Trainer(config, sampler, fingerprint(windows, check))
    if resume:
        trainer.restore(out)
    journal = Journal(out / "training.csv", until=trainer.step)
    run = config.run
    with progress_bar() as progress:
        task = progress.add_task("training", total=run.steps, completed=trainer.step)
        for loss in trainer.steps(min(stop_at or run.steps, run.steps), out):
            progress.update(task, completed=trainer.step, description=f"loss {loss:.3f}")
            if trainer.step % run.validate_every == 0:
                _validate(trainer, validation, journal)
        if trainer.step >= run.steps and journal.last_step != trainer.step:
            _validate(trainer, validation, journal)
    trainer.save(out)
    if journal.rows:
        journal.draw(out / "training.png")
    return out / "average.safetensors"


def _validate(trainer: Trainer, validation: Validation, journal: Journal) -> None:
    loss = float(np.mean(trainer.losses)) if trainer.losses else math.nan
    row = {"step": trainer.step, "seconds": round(trainer.seconds, 1), "loss": loss}
    row |= validation(trainer.average)
    if not all(math.isfinite(row[f"calibrated_{p}"]) for p in ("sbp", "dbp", "map")):
        raise TrainingStopped(
            f"after step {trainer.step} the network's output is not finite: the training diverged; "
            "lower [run] learning_rate and start again"
        )
    journal.add(row)
    trainer.losses.clear()
    log.info("step %d: %s", trainer.step, _summary(row))


def _summary(row: dict[str, float]) -> str:
    parts = [f"loss {row['loss']:.3f}"]
    for state in ("calibrated", "held", "uncalibrated", "population"):
        values = " ".join(f"{row[f'{state}_{p}']:.2f}" for p in ("sbp", "dbp", "map"))
        parts.append(f"{state} {values}")
    return ", ".join(parts)
