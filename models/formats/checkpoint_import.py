"""Import of checkpoints of the original INN-PAR code, parameter by parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats.export import Target, export
from innpar.models.formats.pickled import read_pickled
from innpar.models.manifest import RELATIVE_IN_0_1, Manifest
from innpar.models.network.innpar import InnPar
from innpar.models.network.loading import load_strictly
from innpar.models.network.parameters import listed

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


def _own_name(name: str) -> str | None:
    """Return our name of a parameter of the original code; None if there is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    block, module, convolution, kind, factor = match.groups()
    if factor:
        return f"blocks.{block}.mixing.{factor}"
    return f"blocks.{block}.{module.lower()}.{_CONVOLUTIONS[convolution]}.{kind}"


def _original_name(name: str) -> str:
    """Return the original code's name of one of our parameters."""
    _, block, module, *rest = name.split(".")
    if module == "mixing":
        return f"operations.{block}.invconv.{rest[0]}"
    convolution, kind = rest
    original = {own: original for original, own in _CONVOLUTIONS.items()}[convolution]
    return f"operations.{block}.{module.upper()}.{original}.{kind}"


def from_published(state: Mapping[str, Tensor]) -> InnPar:
    """Build the network from a state dict of the original code.

    Args:
        state: Parameters ``operations.{i}.{F|G|H}.…`` and ``operations.{i}.invconv.…``, which
            determine the numbers of blocks, features and taps.

    Raises:
        ModelError: A name is unknown or missing, or a shape does not fit.
    """
    names = {original: _own_name(original) for original in state}
    if unknown := sorted(original for original, own in names.items() if own is None):
        raise ModelError(
            f"not a published checkpoint: unknown {listed(unknown)}; expected names like "
            "operations.0.F.input_proj.0.weight"
        )
    first = state.get("operations.0.F.input_proj.0.weight")
    if first is None or first.dim() != 3:
        raise ModelError(
            "not a published checkpoint: operations.0.F.input_proj.0.weight is "
            + ("missing" if first is None else f"of shape {list(first.shape)}")
        )
    features, _, kernel = first.shape
    blocks = 1 + max(int(original.split(".")[1]) for original in state)
    if kernel % 2 == 0 or features < 1 or blocks > 64:
        raise ModelError(
            f"not a published checkpoint: {blocks} blocks of {features} features with {kernel} taps"
        )
    model = InnPar(blocks, features, kernel)
    own = {str(names[original]): value for original, value in state.items()}
    return load_strictly(model, own, display_name=_original_name)


def import_checkpoint(
    path: Path,
    out: Path,
    *,
    pressures: tuple[float, float] = (0.0, 1.0),
    targets: Sequence[Target] = (),
) -> Manifest:
    """Convert a checkpoint of the original code to a model folder.

    Args:
        path: File written by ``torch.save``: a state dict, or a dict that contains one.
        out: Model folder to write.
        pressures: Pressures of the network's 0 and 1, mmHg. (The original is trained on pressures
            scaled by the minimum and maximum of the data set, which a checkpoint does not
            contain.) With the default the output is relative until a cuff reading scales it.
        targets: Formats to export to beside TorchScript.

    Raises:
        ModelError: The file cannot be read or is not such a checkpoint, or `out` cannot be written.
    """
    low, high = pressures
    if not low < high:
        raise ModelError(f"the pressures of 0 and 1 must increase, not go from {low} to {high}")
    known = (low, high) != (0.0, 1.0)
    model = from_published(_state(path))
    fields = {
        "name": "innpar-published",
        "version": "1",
        "abp_offset": low,
        "abp_scale": high - low,
        # 625 samples and 3 of padding in the original; a stream has neighbouring samples
        "window": 628,
        "normalisation": "zscore",
        "training": {
            "source": f"imported from {path.name}, a checkpoint of the original code",
            "reference": "Kundu et al., ICASSP 2025, doi 10.1109/ICASSP49660.2025.10888915",
        },
        "licence": "as the checkpoint's",
        # version 0.1 reads `output`
        "calibration": {
            "unit": "mmHg" if known else None,
            "output": "mmHg" if known else RELATIVE_IN_0_1,
        },
    }
    return export(model, out, fields, targets=("torchscript", *targets))


def _state(path: Path) -> Mapping[str, Tensor]:
    try:
        loaded = read_pickled(path)
    except FileNotFoundError:
        raise ModelError(f"there is no checkpoint at {path}") from None
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError(f"{path} contains no state dict; save the network's state_dict()")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}
