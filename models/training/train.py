"""Training through the fold: windows in, checkpoints, a log and averaged weights out.

The network's affine parts are collapsed anew in every step (the collapse is differentiable), which
needs eleven times fewer multiplications than running them. Everything random comes from one
generator whose state is in the checkpoint, so a run that was interrupted continues bit for bit.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from innpar.models.calibration.context import CONTEXT
from innpar.models.data.recordings import DataError, Windows
from innpar.models.data.sampling import Sampler
from innpar.models.network.folded_training import folded_forward
from innpar.models.network.innpar import InnPar, gradient, joint
from innpar.models.training.checkpoint import NAME, fingerprint, read_checkpoint, written
from innpar.models.training.config import RunConfig, TrainConfig, read_config
from innpar.models.training.journal import Journal, Stopped, make_folder, replace
from innpar.models.training.progress import bar
from innpar.models.training.validate import Validation

__all__ = ["TrainConfig", "Trainer", "read_config", "train"]

log: logging.Logger = logging.getLogger(__name__)


class Trainer:
    """One run: model, averaged model, optimiser, generator and step, saved and restored as one.

    Args:
        config: What to train, and how.
        sampler: Draws the batches.
        data: `fingerprint` of the recordings, which a checkpoint keeps.

    Attributes:
        losses: Of the steps since the last validation.

    Raises:
        DataError: There is no such device.
    """

    def __init__(self, config: TrainConfig, sampler: Sampler, data: str = "") -> None:
        run = config.run
        self.config, self.sampler, self.data, self.step = config, sampler, data, 0
        self.losses: list[float] = []
        self._began = time.monotonic()
        self.device: str = device_of(run)
        torch.manual_seed(run.seed)
        network = dataclasses.asdict(config.network)
        self.model: InnPar = InnPar(**network, context=len(CONTEXT)).to(self.device)
        self.average: InnPar = InnPar(**network, context=len(CONTEXT)).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.average.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=run.learning_rate, weight_decay=run.weight_decay
        )
        self.rng = np.random.default_rng(run.seed)

    @property
    def seconds(self) -> float:
        """Taken so far, interruptions left out."""
        return time.monotonic() - self._began

    def advance(self) -> float:
        """Take one step; return its loss.

        Raises:
            Stopped: The loss is no number any more; the weights are those before this step.
        """
        run = self.config.run
        for group in self.optimiser.param_groups:
            group["lr"] = run.learning_rate * _pace(self.step, run)
        batch = self.sampler.draw(run.batch, self.rng)
        x, y, c = (
            torch.from_numpy(part).to(self.device) for part in (batch.ppg, batch.abp, batch.context)
        )
        loss = _loss(folded_forward(self.model, joint(x), c, edges=False), y, run)
        found = float(loss.detach())
        if not math.isfinite(found):
            raise Stopped(
                f"the loss of step {self.step + 1} is {found}: the training diverged; lower "
                "[run] learning_rate and begin again"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.model.parameters(), run.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(run.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)
        self.losses.append(found)
        return found

    def steps(self, end: int, folder: Path) -> Iterator[float]:
        """Take steps until `end`, yield each one's loss, and save to `folder` now and then."""
        while self.step < end:
            yield self.advance()
            if self.step % self.config.run.save_every == 0:
                self.save(folder)

    def save(self, folder: Path) -> None:
        """Write the checkpoint and the averaged weights, each whole or not at all."""
        state = {
            "step": self.step,
            "config": written(self.config),
            "data": self.data,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": json.dumps(self.rng.bit_generator.state),
            "losses": self.losses,
            "seconds": self.seconds,
        }
        content = io.BytesIO()
        torch.save(state, content)
        replace(folder / NAME, content.getvalue())
        weights = {k: v.detach().cpu().contiguous() for k, v in self.average.state_dict().items()}
        replace(folder / "average.safetensors", safetensors_bytes(weights))

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in `folder`; only the run's length may have been changed.

        Raises:
            DataError: there is none, it cannot be read, or it belongs to another configuration or
                other recordings.
        """
        try:
            self.take(read_checkpoint(folder, self.config, self.data, self.device))
        except FileNotFoundError:
            raise DataError(f"{folder} has no {NAME} to resume; leave --resume out") from None

    def take(self, state: Mapping[str, Any]) -> None:
        """Continue from what `read_checkpoint` returned."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["generator"])
        self.losses = list(state["losses"])
        self._began = time.monotonic() - state["seconds"]


def device_of(run: RunConfig) -> str:
    """Return where a run computes.

    Raises:
        DataError: There is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if run.device == "auto":
        return "cuda" if count else "cpu"
    if run.device != "cpu" and int(run.device.partition(":")[2] or 0) >= count:
        raise DataError(
            f'[run] device is "{run.device}", and there is no such GPU here; "auto" takes what '
            "there is"
        )
    return run.device


def _pace(step: int, run: RunConfig) -> float:
    if step < run.warm_up:
        return (step + 1) / run.warm_up
    share = min((step - run.warm_up) / max(run.steps - run.warm_up, 1), 1.0)
    return run.final_share + (1.0 - run.final_share) * 0.5 * (1.0 + math.cos(math.pi * share))


def _loss(found: Tensor, abp: Tensor, run: RunConfig) -> Tensor:
    inside = slice(run.edge, abp.shape[1] - run.edge)
    wave, truth = found[:, 0, inside], abp[:, inside]
    slope = found[:, 1, inside] - gradient(abp)[:, inside]
    levels = (
        (wave.amax(1) - truth.amax(1)).abs().mean()
        + (wave.amin(1) - truth.amin(1)).abs().mean()
        + (wave.mean(1) - truth.mean(1)).abs().mean()
    )
    return (wave - truth).abs().mean() + slope.abs().mean() + run.level_weight * levels


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
    """Train a network; return the file of its averaged weights.

    Args:
        config: What to train, and how.
        windows: Training windows.
        check: Validation windows, only looked at.
        matrix: Conditioning, (buffer, window); see `stream.filter`.
        out: Folder for checkpoint.pt, average.safetensors, training.csv and training.png.
        resume: Continue from the checkpoint in `out`.
        stop_at: Step to stop at, resumable; default the configured end.

    Raises:
        ModelError: a subject on both sides, no checkpoint to resume, no such device, a full disk,
            or the training diverged.
    """
    shared = set(windows.subjects) & set(check.subjects)
    if shared:
        raise DataError(f"subject {sorted(shared)[0]} is in both training and validation")
    if 2 * config.run.edge >= matrix.shape[1]:
        raise DataError(
            f"[run] edge is {config.run.edge}, which leaves nothing of {matrix.shape[1]} samples"
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
    with bar() as progress:
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
        raise Stopped(
            f"after step {trainer.step} the network gives no numbers: the training diverged; "
            "lower [run] learning_rate and begin again"
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
