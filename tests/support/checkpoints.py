"""Checkpoints in the names of the original code."""

from __future__ import annotations

import torch

from innpar.models import InnPar


def renamed(model: InnPar) -> dict[str, torch.Tensor]:
    """Return the state dict of a network in the names of the original code."""
    convolutions = {
        "entry": "input_proj.0",
        "half_in": "main.1",
        "quarter": "main.3",
        "half_out": "main.5",
        "exit": "output_proj.0",
    }
    state = {}
    for name, value in model.state_dict().items():
        _, block, module, *rest = name.split(".")
        inner = f"invconv.{rest[0]}"
        if module != "mixing":
            inner = f"{module.upper()}.{convolutions[rest[0]]}.{rest[1]}"
        state[f"operations.{block}.{inner}"] = value
    return state
