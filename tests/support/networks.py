"""Networks, golden vectors and windows for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from innpar.models import InnPar
from support.paths import SHARED

GOLDEN = SHARED / "vectors" / "innpar_golden.npz"


def golden() -> dict[str, npt.NDArray[np.float32]]:
    """Return golden vectors of the published network; skip the test without them."""
    if not GOLDEN.is_file():
        pytest.skip("../shared/vectors/innpar_golden.npz is missing")
    with np.load(GOLDEN) as vectors:
        return {name: vectors[name] for name in vectors}


def golden_state() -> dict[str, Tensor]:
    """Return the golden state dict, in the names of the original code."""
    return {
        name.removeprefix("state:"): torch.from_numpy(value)
        for name, value in golden().items()
        if name.startswith("state:")
    }


def network(blocks: int = 2, features: int = 16, kernel: int = 5, context: int = 0) -> InnPar:
    """Return a network whose parameters all differ from their initial values."""
    torch.manual_seed(blocks + 10 * features + 100 * kernel + 1000 * context)
    model = InnPar(blocks, features, kernel, context=context).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    return model


def windows(batch: int, length: int = 640, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return (batch, length) windows of unit SD: pulses of random rates, and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / 125.0
    rates = rng.uniform(0.8, 2.0, (batch, 1))
    phase = 2 * np.pi * (rates * time + rng.uniform(size=(batch, 1)))
    wave = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.1 * rng.standard_normal((batch, length))
    wave = (wave - wave.mean(axis=1, keepdims=True)) / wave.std(axis=1, keepdims=True)
    return wave.astype(np.float32)


def off(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the scale of `expected`."""
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())
