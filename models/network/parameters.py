"""Names and shapes of the network's parameters, and their strict check; no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from innpar.models.errors import ModelError

EMBEDDING = 32
"""Length of the encoded context."""

Shape = tuple[int, ...]


def shapes(blocks: int, features: int, kernel: int, context: int) -> dict[str, Shape]:
    """Return the shape of every parameter of `InnPar` with these arguments, by name.

    Raises:
        ValueError: An argument is out of range.
    """
    if blocks < 1 or features < 1 or context < 0 or kernel < 1 or kernel % 2 == 0:
        raise ValueError(
            "a network has at least one block and one feature, an odd kernel and no negative "
            f"context, not {blocks=} {features=} {kernel=} {context=}"
        )
    found: dict[str, Shape] = {}
    for k in range(blocks):
        mixing = {"p": (2, 2), "sign_s": (2,), "lower": (2, 2), "log_s": (2,), "upper": (2, 2)}
        found |= {f"blocks.{k}.mixing.{name}": shape for name, shape in mixing.items()}
        for module in "fgh":
            found |= _module(f"blocks.{k}.{module}", features, kernel, context)
    if context:
        found |= {
            "encoder.0.weight": (EMBEDDING, context),
            "encoder.0.bias": (EMBEDDING,),
            "encoder.2.weight": (EMBEDDING, EMBEDDING),
            "encoder.2.bias": (EMBEDDING,),
        }
    return found


def _module(name: str, features: int, kernel: int, context: int) -> dict[str, Shape]:
    f = features
    layers = {
        "entry": (f, 1),
        "half_in": (2 * f, 2 * f),
        "quarter": (4 * f, 4 * f),
        "half_out": (2 * f, 2 * f),
        "exit": (1, f),
    }
    found: dict[str, Shape] = {}
    for layer, (outputs, inputs) in layers.items():
        found[f"{name}.{layer}.weight"] = (outputs, inputs, kernel)
        found[f"{name}.{layer}.bias"] = (outputs,)
    if context:
        found[f"{name}.shift.weight"] = (f, EMBEDDING)
    return found


def check_parameters(
    expected: Mapping[str, Shape],
    state: Mapping[str, Any],
    *,
    display_name: Callable[[str], str] = str,
) -> None:
    """Check that `state` holds exactly the expected parameters, as finite arrays.

    Args:
        expected: Shapes by the network's names.
        state: Arrays or CPU tensors by the same names.
        display_name: Maps the network's name of a parameter to the name used in error messages.

    Raises:
        ModelError: A parameter is missing, unknown, of another shape or not finite.
    """
    if missing := sorted(map(display_name, expected.keys() - state.keys())):
        raise ModelError(f"the weights lack {listed(missing)}; they belong to another network")
    if unknown := sorted(map(display_name, state.keys() - expected.keys())):
        raise ModelError(f"the weights have unknown {listed(unknown)}")
    for name, value in state.items():
        shape, wanted = list(value.shape), list(expected[name])
        if shape != wanted:
            raise ModelError(f"{display_name(name)} has shape {shape}, expected {wanted}")
        if not np.isfinite(np.asarray(value)).all():
            raise ModelError(
                f"{display_name(name)} contains NaN or infinity; the training diverged"
            )


def listed(names: list[str]) -> str:
    """Join the first four names; append the number of the others."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
