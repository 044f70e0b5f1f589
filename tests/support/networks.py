"""Networks and golden vectors for tests; needs torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from innpar.models import InnPar
from support.paths import SHARED
from support.pulses import windows

__all__ = ["golden", "golden_state", "network", "off", "windows"]

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


def off(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the scale of `expected`."""
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())
