"""Checkpoints of the authors' own code, name by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import ModelError
from .innpar import InnPar

_CONVOLUTIONS = {
    "input_proj.0": "entry",
    "main.1": "half_in",
    "main.3": "quarter",
    "main.5": "half_out",
    "output_proj.0": "exit",
}
_NAME = re.compile(
    r"operations\.(?P<block>\d+)\."
    r"(?:(?P<module>[FGH])\.(?P<convolution>input_proj\.0|main\.[135]|output_proj\.0)"
    r"\.(?P<kind>weight|bias)|invconv\.(?P<factor>p|sign_s|lower|log_s|upper))"
)


def _ours(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    block, module, convolution, kind, factor = match.groups()
    if factor:
        return f"blocks.{block}.mixing.{factor}"
    return f"blocks.{block}.{module.lower()}.{_CONVOLUTIONS[convolution]}.{kind}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def from_published(state: Mapping[str, Tensor]) -> InnPar:
    """Build the network from a state dict in the authors' names, strictly.

    Args:
        state: ``operations.{i}.{F|G|H}.…`` and ``operations.{i}.invconv.…``. The number of blocks,
            features and taps are read from it.

    Raises:
        ModelError: A name is unknown or missing, or a shape does not fit.
    """
    names = {theirs: _ours(theirs) for theirs in state}
    if unknown := sorted(theirs for theirs, ours in names.items() if ours is None):
        raise ModelError(
            f"not a published checkpoint: unknown {_listed(unknown)}; expected names like "
            "operations.0.F.input_proj.0.weight"
        )
    first = state.get("operations.0.F.input_proj.0.weight")
    if first is None or first.dim() != 3:
        raise ModelError(
            "not a published checkpoint: operations.0.F.input_proj.0.weight is "
            + ("missing" if first is None else f"of shape {list(first.shape)}")
        )
    features, _, kernel = first.shape
    blocks = 1 + max(int(theirs.split(".")[1]) for theirs in state)
    if kernel % 2 == 0 or blocks > 64:
        raise ModelError(f"not a published checkpoint: {blocks} blocks with {kernel} taps")
    model = InnPar(blocks, features, kernel)
    return load_strictly(model, {str(names[theirs]): value for theirs, value in state.items()})


def load_strictly(model: InnPar, state: Mapping[str, Tensor]) -> InnPar:
    """Fill `model` with exactly these parameters; return it in evaluation mode.

    Raises:
        ModelError: A parameter is missing, unknown, of another shape or not finite.
    """
    expected = model.state_dict()
    if missing := sorted(expected.keys() - state.keys()):
        raise ModelError(f"the weights lack {_listed(missing)}; they belong to another network")
    if unknown := sorted(state.keys() - expected.keys()):
        raise ModelError(f"the weights have unknown {_listed(unknown)}")
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{name} has shape {list(value.shape)}, expected {list(expected[name].shape)}"
            )
        if not torch.isfinite(value).all():
            raise ModelError(f"{name} holds values that are not finite; the training diverged")
    model.load_state_dict(dict(state))
    return model.eval()
