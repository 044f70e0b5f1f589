"""Strict loading of parameters into a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.network.innpar import InnPar


def load_strictly(
    model: InnPar, state: Mapping[str, Tensor], *, display_name: Callable[[str], str] = str
) -> InnPar:
    """Load exactly these parameters; return the model in evaluation mode.

    Args:
        model: The network, changed in place.
        state: Parameters by the model's names.
        display_name: Maps the model's name of a parameter to the name used in error messages.

    Raises:
        ModelError: A parameter is missing, unknown, of another shape or not finite.
    """
    expected = model.state_dict()
    if missing := sorted(map(display_name, expected.keys() - state.keys())):
        raise ModelError(f"the weights lack {listed(missing)}; they belong to another network")
    if unknown := sorted(map(display_name, state.keys() - expected.keys())):
        raise ModelError(f"the weights have unknown {listed(unknown)}")
    for name, value in state.items():
        shape, wanted = list(value.shape), list(expected[name].shape)
        if shape != wanted:
            raise ModelError(f"{display_name(name)} has shape {shape}, expected {wanted}")
        if not torch.isfinite(value).all():
            raise ModelError(
                f"{display_name(name)} contains NaN or infinity; the training diverged"
            )
    model.load_state_dict(dict(state))
    return model.eval()


def listed(names: list[str]) -> str:
    """Join the first four names; append the number of the others."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
