"""Parameters into the network, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.network.innpar import InnPar


def load_strictly(
    model: InnPar, state: Mapping[str, Tensor], *, called: Callable[[str], str] = str
) -> InnPar:
    """Fill `model` with exactly these parameters; return it in evaluation mode.

    Args:
        model: To be filled.
        state: By the model's own names.
        called: What a parameter is called where the state comes from.

    Raises:
        ModelError: A parameter is missing, unknown, of another shape or not finite.
    """
    expected = model.state_dict()
    if missing := sorted(map(called, expected.keys() - state.keys())):
        raise ModelError(f"the weights lack {listed(missing)}; they belong to another network")
    if unknown := sorted(map(called, state.keys() - expected.keys())):
        raise ModelError(f"the weights have unknown {listed(unknown)}")
    for name, value in state.items():
        shape, wanted = list(value.shape), list(expected[name].shape)
        if shape != wanted:
            raise ModelError(f"{called(name)} has shape {shape}, expected {wanted}")
        if not torch.isfinite(value).all():
            raise ModelError(
                f"{called(name)} holds values that are not finite; the training diverged"
            )
    model.load_state_dict(dict(state))
    return model.eval()


def listed(names: list[str]) -> str:
    """Return the first four names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
