"""Training through the fold: windows in, checkpoints, a log and averaged weights out.

The network's affine parts are collapsed anew in every step (the collapse is differentiable), which
needs eleven times fewer multiplications than running them. Everything random comes from one
generator whose state is in the checkpoint, so a run that was interrupted continues bit for bit.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import os
import time
import tomllib
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
from .sampling import Sampler, Sampling
from .through import folded_forward
from .validate import errors, held_cuffs, inversion

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """Arguments of `InnPar`; the context is always `CONTEXT`."""

    blocks: int = 4
    features: int = 16
    kernel: int = 5
    clamp: float = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Length and pace of a run. Times in optimiser steps.

    Attributes:
        level_weight: Weight of the error of each window's highest, lowest and mean pressure beside
            the L1 on both channels.
        average: Decay of the averaged weights.
        edge: Samples at either end outside the loss: zero-padded gradients spoil them.
        cuff_minutes: Time between validation's cuff readings.
        threads: CPU threads of the training step.
    """

    seed: int = 1
    device: str = "auto"
    threads: int = 1
    steps: int = 20000
    batch: int = 64
    learning_rate: float = 1.5e-3
    final_share: float = 0.02
    warm_up: int = 300
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    level_weight: float = 0.3
    edge: int = 60
    validate_every: int = 1000
    save_every: int = 500
    cuff_minutes: float = 30.0
    validate_step: int = 2


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training configuration, one section each."""

    network: Network = Network()
    run: Run = Run()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)


def read_config(path: Path) -> TrainConfig:
    """Read a TOML configuration.

    Raises:
        DataError: not TOML, or a key that does not exist.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: {error}") from None
    sections = {"network": Network, "run": Run, "sampling": Sampling}
    unknown = set(table) - set(sections)
    if unknown:
        raise DataError(
            f"{path}: no section {sorted(unknown)[0]!r}; there are {', '.join(sections)}"
        )
    made: dict[str, Any] = {}
    for name, kind in sections.items():
        try:
            made[name] = kind(**table.get(name, {}))
        except TypeError:
            known = {field.name for field in dataclasses.fields(kind)}
            extra = ", ".join(sorted(set(table[name]) - known))
            raise DataError(
                f"{path}: [{name}] has no {extra}; it has {', '.join(sorted(known))}"
            ) from None
    return TrainConfig(**made)


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
        loss.backward()
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
            "config": json.dumps(dataclasses.asdict(self.config), sort_keys=True),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": json.dumps(self.rng.bit_generator.state),
        }
        _replace(folder / "checkpoint.pt", lambda path: torch.save(state, path))
        weights = {k: v.detach().cpu().contiguous() for k, v in self.average.state_dict().items()}
        _replace(folder / "average.safetensors", lambda path: save_file(weights, path))

    def restore(self, folder: Path) -> None:
        """Continue from the checkpoint in `folder`.

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
        if json.loads(state["config"]) != json.loads(json.dumps(dataclasses.asdict(self.config))):
            raise DataError(f"{path} was made with another configuration; use another --out")
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["generator"])


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


def _replace(path: Path, write: Any) -> None:
    """Write beside `path`, then rename: a full disk leaves what was there before."""
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise DataError(
            f"{path} could not be written ({error}); the earlier one is intact"
        ) from None


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
        TimeRemainingColumn(speed_estimate_period=300),
    )
    began, losses = time.monotonic(), []
    with Progress(*columns) as progress:
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


class Journal:
    """The training log: one CSV row a validation, and curves drawn from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as lines:
                self.rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]

    def keep_until(self, step: int) -> None:
        """Forget rows that a resumed run will write again."""
        self.rows = [row for row in self.rows if row["step"] <= step]

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as lines:
                writer = csv.DictWriter(lines, list(row))
                writer.writeheader()
                writer.writerows(
                    {k: v if k == "step" else f"{v:.6g}" for k, v in r.items()} for r in self.rows
                )

        _replace(self.path, write)

    def draw(self, path: Path) -> None:
        """Draw loss and errors against steps, beside the trivial baselines."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            log.warning("no curves drawn: pip install 'innpar-stream[train]'")
            return
        steps = [row["step"] for row in self.rows]
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        panels = figure.subplots(1, 4)
        panels[0].plot(steps, [row["loss"] for row in self.rows])
        panels[0].set(title="training loss", xlabel="step")
        for panel, pressure in zip(panels[1:], ("sbp", "dbp", "map"), strict=True):
            for state in ("uncalibrated", "population", "held", "calibrated"):
                values = [row[f"{state}_{pressure}"] for row in self.rows]
                dashed = "--" if state in ("population", "held") else "-"
                panel.plot(steps, values, dashed, label=state)
            panel.set(title=f"{pressure.upper()} error, mmHg", xlabel="step")
        panels[-1].legend(fontsize="small")
        figure.savefig(path, dpi=100)
