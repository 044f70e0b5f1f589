"""Training through the fold: windows in, checkpoints, a log and averaged weights out.

The network's affine parts are collapsed anew in every step (the collapse is differentiable), which
needs eleven times fewer multiplications than running them. Everything random comes from one
generator whose state is in the checkpoint, so a run that was interrupted continues bit for bit.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .context import CONTEXT
from .data import DataError, Windows
from .innpar import InnPar, gradient, joint
from .journal import Journal, replace
from .sampling import Sampler
from .settings import Run, TrainConfig, read_config
from .through import folded_forward
from .validate import errors, held_cuffs, inversion

__all__ = ["TrainConfig", "Trainer", "read_config", "train"]

log = logging.getLogger(__name__)


class Trainer:
    """One run: model, averaged model, optimiser, generator and step, saved and restored as one."""

    def __init__(self, config: TrainConfig, sampler: Sampler) -> None:
        run = config.run
        self.config, self.sampler, self.step = config, sampler, 0
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = chosen if run.device == "auto" else run.device
        torch.manual_seed(run.seed)
        network = dataclasses.asdict(config.network)
        self.model = InnPar(**network, context=len(CONTEXT)).to(self.device)
        self.average = InnPar(**network, context=len(CONTEXT)).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.average.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=run.learning_rate, weight_decay=run.weight_decay
        )
        self.rng = np.random.default_rng(run.seed)

    def advance(self) -> float:
        """Take one step; return its loss."""
        run = self.config.run
        for group in self.optimiser.param_groups:
            group["lr"] = run.learning_rate * _pace(self.step, run)
        batch = self.sampler.draw(run.batch, self.rng)
        x, y, c = (
            torch.from_numpy(part).to(self.device) for part in (batch.ppg, batch.abp, batch.context)
        )
        loss = _loss(folded_forward(self.model, joint(x), c, edges=False), y, run)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.model.parameters(), run.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(run.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1.0 - decay)
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """Write the checkpoint and the averaged weights, each whole or not at all."""
        state = {
            "step": self.step,
            "config": json.dumps(_plain(self.config), sort_keys=True),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": json.dumps(self.rng.bit_generator.state),
        }
        replace(folder / "checkpoint.pt", lambda path: torch.save(state, path))
        weights = {k: v.detach().cpu().contiguous() for k, v in self.average.state_dict().items()}
        replace(folder / "average.safetensors", lambda path: save_file(weights, path))

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in `folder`; only the run's length may have been changed.

        Raises:
            DataError: there is none, or it belongs to another configuration.
        """
        path = folder / "checkpoint.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except FileNotFoundError:
            raise DataError(
                f"{folder} has no checkpoint.pt to resume; leave --resume out"
            ) from None
        if _but_length(json.loads(state["config"])) != _but_length(_plain(self.config)):
            raise DataError(f"{path} was made with another configuration; use another --out")
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["generator"])


def _plain(config: TrainConfig) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(config.plain()))
    return plain


def _but_length(plain: dict[str, Any]) -> dict[str, Any]:
    return {**plain, "run": {**plain["run"], "steps": None}}


def _pace(step: int, run: Run) -> float:
    if step < run.warm_up:
        return (step + 1) / run.warm_up
    share = min((step - run.warm_up) / max(run.steps - run.warm_up, 1), 1.0)
    return run.final_share + (1.0 - run.final_share) * 0.5 * (1.0 + math.cos(math.pi * share))


def _loss(found: Tensor, abp: Tensor, run: Run) -> Tensor:
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
        DataError: a subject on both sides, no checkpoint to resume, or a full disk.
    """
    shared = set(windows.subjects) & set(check.subjects)
    if shared:
        raise DataError(f"subject {sorted(shared)[0]} is in both training and validation")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.run.threads)
    trainer = Trainer(config, Sampler(windows, matrix, config.sampling))
    journal = Journal(out / "training.csv")
    if resume:
        trainer.restore(out)
    journal.keep_until(trainer.step)
    judge = _Judge(config, windows, check, matrix, trainer.device)
    _loop(trainer, judge, journal, out, min(stop_at or config.run.steps, config.run.steps))
    trainer.save(out)
    if journal.rows:
        journal.draw(out / "training.png")
    return out / "average.safetensors"


def _loop(trainer: Trainer, judge: _Judge, journal: Journal, out: Path, end: int) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    run = trainer.config.run
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    began, losses = time.monotonic(), []
    with Progress(*columns, speed_estimate_period=300) as progress:
        task = progress.add_task("training", total=run.steps, completed=trainer.step)
        while trainer.step < end:
            losses.append(trainer.advance())
            progress.update(task, completed=trainer.step, description=f"loss {losses[-1]:.3f}")
            if trainer.step % run.validate_every == 0:
                row = {"step": trainer.step, "seconds": round(time.monotonic() - began, 1)}
                row |= {"loss": float(np.mean(losses))} | judge(trainer)
                journal.add(row)
                losses.clear()
                log.info("step %d: %s", trainer.step, _summary(row))
            if trainer.step % run.save_every == 0:
                trainer.save(out)


def _summary(row: dict[str, float]) -> str:
    parts = [f"loss {row['loss']:.3f}"]
    for state in ("calibrated", "held", "uncalibrated", "population"):
        values = " ".join(f"{row[f'{state}_{p}']:.2f}" for p in ("sbp", "dbp", "map"))
        parts.append(f"{state} {values}")
    return ", ".join(parts)


class _Judge:
    """Measures the averaged weights on the validation windows."""

    def __init__(
        self,
        config: TrainConfig,
        windows: Windows,
        check: Windows,
        matrix: npt.NDArray[np.float64],
        device: str,
    ) -> None:
        self._edge, self._device = config.run.edge, device
        self._held = held_cuffs(
            check, matrix, 60.0 * config.run.cuff_minutes, config.run.validate_step
        )
        each = np.bincount(windows.subject)
        pressures = np.stack((windows.sbp, windows.dbp, windows.map_), axis=1)
        weight = 1.0 / each[windows.subject] / len(each)
        self._population = weight @ pressures.astype(np.float64)

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        model = trainer.average

        def forward(x: Tensor, c: Tensor) -> Tensor:
            return folded_forward(model, x, c, edges=False)

        row = errors(forward, self._held, self._population, self._edge, self._device)
        some = slice(None, None, max(len(self._held.ppg) // 64, 1))
        told = self._held.contexts()[some]
        error, gain = inversion(model, self._held.ppg[some], told, self._device)
        return row | {"inverse_error": error, "inverse_noise_gain": gain}
