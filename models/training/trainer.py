"""Optimisation of a network through its fold: steps, weight average, checkpoints.

All randomness of a run comes from one generator whose state is in the checkpoint, so that an
interrupted run continues bit for bit.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from innpar.models.calibration.context import CONTEXT
from innpar.models.data.sampling import Sampler
from innpar.models.errors import DataError
from innpar.models.network.folded_training import folded_forward
from innpar.models.network.innpar import InnPar, gradient, joint
from innpar.models.training.checkpoint import NAME, config_json, read_checkpoint
from innpar.models.training.config import RunConfig, TrainConfig
from innpar.models.training.journal import TrainingStopped, replace


class Trainer:
    """State of a run: model, averaged model, optimiser, generator and step.

    The network's affine part is collapsed at every step (the collapse is differentiable), which
    needs eleven times fewer multiplications than its convolutions.

    Args:
        config: Configuration.
        sampler: Source of the batches.
        data: `fingerprint` of the recordings, stored in checkpoints.

    Attributes:
        step: Steps taken.
        model: The network in training.
        average: Network with the running mean of the weights.
        losses: Losses of the steps since the last validation.

    Raises:
        DataError: The device is not available.
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
        """Duration of the run so far without interruptions, s."""
        return time.monotonic() - self._began

    def advance(self) -> float:
        """Take one step; return its loss.

        Raises:
            TrainingStopped: The loss is not finite; the weights are those before this step.
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
            raise TrainingStopped(
                f"the loss of step {self.step + 1} is {found}: the training diverged; lower "
                "[run] learning_rate and start again"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.model.parameters(), run.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(run.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for average, new in zip(
                self.average.parameters(), self.model.parameters(), strict=True
            ):
                average.lerp_(new, 1.0 - decay)
        self.losses.append(found)
        return found

    def steps(self, end: int, folder: Path) -> Iterator[float]:
        """Take steps until `end`; yield each loss; save to `folder` every `save_every` steps."""
        while self.step < end:
            yield self.advance()
            if self.step % self.config.run.save_every == 0:
                self.save(folder)

    def save(self, folder: Path) -> None:
        """Write the checkpoint and the averaged weights, each atomically."""
        state = {
            "step": self.step,
            "config": config_json(self.config),
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
        """Continue from the checkpoint in `folder`; only the run's length may differ.

        Raises:
            DataError: There is no checkpoint, it cannot be read, or it belongs to another
                configuration or other recordings.
        """
        try:
            self.take(read_checkpoint(folder, self.config, self.data, self.device))
        except FileNotFoundError:
            raise DataError(f"{folder} has no {NAME} to resume; omit --resume") from None

    def take(self, state: Mapping[str, Any]) -> None:
        """Continue from the state that `read_checkpoint` returns."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = json.loads(state["generator"])
        self.losses = list(state["losses"])
        self._began = time.monotonic() - state["seconds"]


def device_of(run: RunConfig) -> str:
    """Return the torch device of a run.

    Raises:
        DataError: The device is not available.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if run.device == "auto":
        return "cuda" if count else "cpu"
    if run.device != "cpu" and int(run.device.partition(":")[2] or 0) >= count:
        raise DataError(
            f'[run] device is "{run.device}", but there is no such GPU; "auto" uses a GPU if there '
            "is one"
        )
    return run.device


def _pace(step: int, run: RunConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then cosine decay."""
    if step < run.warm_up:
        return (step + 1) / run.warm_up
    share = min((step - run.warm_up) / max(run.steps - run.warm_up, 1), 1.0)
    return run.final_share + (1.0 - run.final_share) * 0.5 * (1.0 + math.cos(math.pi * share))


def _loss(found: Tensor, abp: Tensor, run: RunConfig) -> Tensor:
    """Return the loss of outputs (n, 2, window) against pressures (n, window), network units.

    L1 on wave and gradient, and on each window's highest, lowest and mean pressure.
    """
    inside = slice(run.edge, abp.shape[1] - run.edge)
    wave, truth = found[:, 0, inside], abp[:, inside]
    slope = found[:, 1, inside] - gradient(abp)[:, inside]
    levels = (
        (wave.amax(1) - truth.amax(1)).abs().mean()
        + (wave.amin(1) - truth.amin(1)).abs().mean()
        + (wave.mean(1) - truth.mean(1)).abs().mean()
    )
    return (wave - truth).abs().mean() + slope.abs().mean() + run.level_weight * levels
