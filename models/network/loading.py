"""Strict loading of parameters into a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from innpar.models.network.innpar import InnPar
from innpar.models.network.parameters import check_parameters


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
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    plain = {name: value.detach().cpu() for name, value in state.items()}
    check_parameters(expected, plain, display_name=display_name)
    model.load_state_dict(dict(state))
    return model.eval()
