"""Fit of the sizes of the process, by its own predictions of later pressures on training subjects.

An episode is a wearer with one to eight cuff readings and some moments after the newest one; the
loss is the negative log likelihood of a Laplace distribution with the predicted SD.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from innpar.models.calibration.process import ProcessPrior
from innpar.models.training.process_rows import ProcessRows

Floats = npt.NDArray[np.float64]

STEPS, EPISODES, MOMENTS, MOST = 600, 24, 24, 8
RATE = 0.03
GAPS = (900.0, 1800.0, 1800.0, 1800.0, 3600.0)
"""s between two readings of an episode, one of these."""
ARTERIAL, CUFF = 1.5, 5.0
"""SD of the error of a reading, mmHg: drawn from an arterial line, taken by an arm cuff."""
_START = {
    "offset": (16.0, 9.0, 11.0),
    "similarity": (8.0, 4.0, 6.0),
    "rest": (5.0, 2.5, 3.5),
}


class _LearntSizes(nn.Module):
    """The sizes as parameters: logarithms, except for the population's line."""

    def __init__(self, base: Floats, count: int) -> None:
        super().__init__()
        drift = ((10.0, 6.0), (5.0, 3.0), (7.0, 4.0))
        self.base = nn.Parameter(torch.tensor(base / 10.0, dtype=torch.float64))
        self.line = nn.Parameter(torch.zeros((3, count), dtype=torch.float64))
        for name, values in _START.items():
            setattr(self, name, _log(values))
        self.slopes = _log(np.full((3, count), 1.5))
        self.alike = _log(np.full((3, count), math.exp(-1.5)))
        self.fade = _log(np.full(3, 3.0))
        self.drift = _log(drift)
        self.drift_hours = _log(((1.0, 0.1),) * 3)

    def values(self) -> dict[str, Tensor]:
        """Return the values by the names of `ProcessPrior`."""
        found = {n: p.exp() for n, p in self.named_parameters() if n not in ("base", "line")}
        return {"base": 10.0 * self.base, "line": self.line, **found}


def _log(values: object) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.log(np.asarray(values, dtype=np.float64))))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Episodes:
    """Padded readings (B, n) and later moments (B, m) with inputs (…, K) and pressures (…, 3)."""

    x: Tensor
    hours: Tensor
    reading: Tensor
    padding: Tensor
    later_x: Tensor
    later_hours: Tensor
    truth: Tensor


def fit_process(rows: Sequence[ProcessRows], seed: int = 0, steps: int = STEPS) -> ProcessPrior:
    """Return the sizes learnt from the records of some subjects.

    Args:
        rows: The records; those with too few windows for an episode are left out.
        seed: Of the episodes.
        steps: Optimiser steps.
    """
    rng = np.random.default_rng(seed)
    rows = [row for row in rows if len(row.time) > MOMENTS and row.time[-1] > 2.0 * GAPS[0] / 15.0]
    weight = np.sqrt([len(row.time) for row in rows])
    weight = weight / weight.sum()
    base = np.mean([row.truth.mean(axis=0) for row in rows], axis=0)
    sizes = _LearntSizes(base, rows[0].inputs.shape[1])
    optimiser = torch.optim.Adam(sizes.parameters(), lr=RATE)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.02 + 0.49 * (1.0 + math.cos(math.pi * step / steps)))
        episodes = _drawn([rows[k] for k in rng.choice(len(rows), EPISODES, p=weight)], rng)
        mean, sd = _predicted(sizes.values(), episodes)
        error = (mean - episodes.truth.movedim(2, 0)).abs()
        loss = (torch.log(1.5 * sd) + error / (0.75 * sd)).mean() + 0.02 * error.mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(sizes.parameters(), 5.0)
        optimiser.step()
    return ProcessPrior(
        **{name: value.detach().numpy() for name, value in sizes.values().items()}, noise=CUFF
    )


def _drawn(rows: Sequence[ProcessRows], rng: np.random.Generator) -> _Episodes:
    """Draw an episode from each record."""
    count = rows[0].inputs.shape[1]
    shape = (len(rows), MOST)
    x, hours = np.zeros((*shape, count)), np.zeros(shape)
    reading, padding = np.zeros((*shape, 3)), np.ones(shape)
    later = np.empty((len(rows), MOMENTS), dtype=np.int64)
    for k, row in enumerate(rows):
        gap, number = float(rng.choice(GAPS)), int(rng.integers(1, MOST + 1))
        newest = rng.uniform(row.time[0] + 30.0, max(row.time[-1] - 60.0, row.time[0] + 31.0))
        times = newest - gap * np.arange(number)
        at = np.searchsorted(row.time, times[times >= min(row.time[0] + 20.0, newest)])
        at = np.unique(np.minimum(at, len(row.time) - 2))
        x[k, : len(at)], hours[k, : len(at)] = row.inputs[at], row.time[at] / 3600.0
        reading[k, : len(at)], padding[k, : len(at)] = row.reading[at], 0.0
        end = int(np.searchsorted(row.time, row.time[at[-1]] + max(gap, 1800.0)))
        later[k] = rng.integers(at[-1] + 1, max(min(end, len(row.time)), at[-1] + 2), MOMENTS)
    reading += rng.normal(0.0, ARTERIAL, reading.shape)
    parts = (
        *(x, hours, reading, padding),
        np.stack([row.inputs[at] for row, at in zip(rows, later, strict=True)]),
        np.stack([row.time[at] / 3600.0 for row, at in zip(rows, later, strict=True)]),
        np.stack([row.truth[at] for row, at in zip(rows, later, strict=True)]),
    )
    return _Episodes(*(torch.from_numpy(part) for part in parts))


def _covariance(s: dict[str, Tensor], x: Tensor, t: Tensor, y: Tensor, u: Tensor) -> Tensor:
    """Return `ProcessPrior.covariance`, (3, B, n, m), of moments x, t (B, n) and y, u (B, m)."""

    def wide(values: Tensor) -> Tensor:
        return values.reshape(3, 1, 1, -1)

    apart = (t[:, :, None] - u[:, None]).abs()
    a, b = x * wide(s["alike"]), y * wide(s["alike"])
    far = (a * a).sum(3)[..., None] + (b * b).sum(3)[:, :, None] - 2.0 * a @ b.transpose(2, 3)
    far = 0.5 * far.clamp_min(0.0) + apart / wide(s["fade"])
    found = (x * wide(s["slopes"]) ** 2) @ y.transpose(1, 2) + wide(s["offset"]) ** 2
    found = found + wide(s["similarity"]) ** 2 * torch.exp(-far)
    for k in range(2):
        fading = torch.exp(-apart / wide(s["drift_hours"][:, k]))
        found = found + wide(s["drift"][:, k]) ** 2 * fading
    return found


def _predicted(s: dict[str, Tensor], e: _Episodes) -> tuple[Tensor, Tensor]:
    """Return the means and SDs (3, B, m) at the later moments of episodes, mmHg."""

    def mean(x: Tensor) -> Tensor:
        return s["base"].reshape(3, 1, 1) + (x @ s["line"].T).movedim(2, 0)

    noise = ARTERIAL**2 + 1e6 * e.padding
    between = _covariance(s, e.x, e.hours, e.x, e.hours) + torch.diag_embed(noise)
    across = _covariance(s, e.later_x, e.later_hours, e.x, e.hours)
    lower = torch.linalg.cholesky(between)
    surprise = (e.reading.movedim(2, 0) - mean(e.x))[..., None]
    found = mean(e.later_x) + (across @ torch.cholesky_solve(surprise, lower))[..., 0]
    known = torch.linalg.solve_triangular(lower, across.transpose(2, 3), upper=False)
    constant = s["offset"] ** 2 + s["similarity"] ** 2 + (s["drift"] ** 2).sum(1)
    own = ((e.later_x**2) @ (s["slopes"] ** 2).T).movedim(2, 0)
    left = (own + constant.reshape(3, 1, 1) - (known**2).sum(2)).clamp_min(0.25)
    return found, (left + s["rest"].reshape(3, 1, 1) ** 2).sqrt()
