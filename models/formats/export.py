"""A trained network → a model folder: weights, the folded network in TorchScript, a manifest.

The weights are the source of truth; everything else is made from them and checked against them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from innpar.models.atomic import write_whole
from innpar.models.errors import ModelError
from innpar.models.formats import torchscript as script
from innpar.models.formats.aot_file import processor
from innpar.models.formats.weights_file import load_network
from innpar.models.manifest import NAME, SUFFIXES, Architecture, Kind, Manifest, read_manifest
from innpar.models.network.fold import fold
from innpar.models.network.innpar import InnPar, joint
from innpar.models.network.loading import load_strictly

log: logging.Logger = logging.getLogger(__name__)

Target = Literal["torchscript", "aot", "onnx"]

FOLD_TOLERANCE = 1e-4
INVERSE_TOLERANCE = 1e-4
SCRIPT_TOLERANCE = 1e-5


def export(
    model: InnPar,
    directory: Path,
    fields: Mapping[str, Any],
    *,
    context: Sequence[str] = (),
    windows: npt.NDArray[np.float32] | None = None,
    targets: Sequence[Target] = ("torchscript",),
) -> Manifest:
    """Write a model folder, or leave what was there before.

    Args:
        model: The network.
        directory: Made if need be; other files in it stay.
        fields: Of `Manifest`: at least name, version, abp_offset and abp_scale.
        context: Names of the context's entries.
        windows: (n, window) real windows, normalised, to verify on beside random ones.
        targets: What to make of the weights. ``aot`` runs on this kind of processor only.

    Raises:
        ModelError: The folded network is off by more than 1e-4 of the output's scale, an exported
            one by more than 1e-5 of the folded one, or a file cannot be written.
    """
    architecture = Architecture(
        len(model.blocks), model.features, model.kernel, model.clamp, tuple(context)
    )
    if len(architecture.context) != model.context:
        raise ModelError(
            f"the network takes {model.context} context entries, {len(context)} are named"
        )
    draft = Manifest(
        **{"code_version": importlib.metadata.version("innpar-stream"), **fields},
        architecture=architecture,
    )
    contents, verified = _made(model.eval(), draft, windows, targets)
    stem = f"{draft.name}-{hashlib.sha256(contents['weights']).hexdigest()[:12]}"
    named = {stem + SUFFIXES[kind]: content for kind, content in contents.items()}
    manifest = dataclasses.replace(
        draft,
        files={name: hashlib.sha256(content).hexdigest() for name, content in named.items()},
        verified=verified,
        built_for={stem + SUFFIXES["aot"]: processor()} if "aot" in contents else {},
    )
    _write(directory, manifest, named)
    return manifest


def export_again(model: Path, directory: Path, targets: Sequence[Target]) -> Manifest:
    """Export a model once more, for `targets` beside TorchScript.

    Args:
        model: A manifest or its folder.
        directory: As of `export`.
        targets: Likewise.

    Raises:
        ModelError: `model` cannot be used, or as of `export`.
    """
    network, manifest = load_network(model)
    made = {"architecture", "files", "verified", "built_for", "code_version"}
    fields = {
        field.name: getattr(manifest, field.name)
        for field in dataclasses.fields(manifest)
        if field.name not in made
    }
    return export(
        network,
        directory,
        fields,
        context=manifest.architecture.context,
        targets=("torchscript", *targets),
    )


def _made(
    model: InnPar,
    draft: Manifest,
    windows: npt.NDArray[np.float32] | None,
    targets: Sequence[Target],
) -> tuple[dict[Kind, bytes], dict[str, float]]:
    """Return each file's content and the deviations found."""
    state = {
        k: v.detach().to("cpu", torch.float32).contiguous() for k, v in model.state_dict().items()
    }
    reference = load_strictly(InnPar(*_arguments(model)), state)
    folded = fold(reference)
    x, told = _cases(draft, windows)
    contents: dict[Kind, bytes] = {"weights": safetensors_bytes(state)}
    with torch.inference_mode():
        y = reference(x, told)
        verified = {
            "inverse": _off(reference.inverse(y, told), x),
            "folded": _within(FOLD_TOLERANCE, "the folded network", folded(x, told), y),
        }
        if verified["inverse"] > INVERSE_TOLERANCE:
            log.warning(
                "the inverse returns random windows only to %.1e of their scale; its gain of "
                "noise grows with training",
                verified["inverse"],
            )
        y = folded(x, told)
        for target in targets:
            contents[target], found = _TARGETS[target](reference, x, told)
            verified[target] = _within(SCRIPT_TOLERANCE, f"the {target} export", found, y)
    return contents, verified


def _arguments(model: InnPar) -> tuple[int, int, int, float, int]:
    return len(model.blocks), model.features, model.kernel, model.clamp, model.context


def _cases(
    draft: Manifest, windows: npt.NDArray[np.float32] | None
) -> tuple[Tensor, Tensor | None]:
    """Random windows, rough and smooth, then the given ones; with random contexts."""
    rng = np.random.default_rng(0)
    rough = rng.standard_normal((4, draft.window), dtype=np.float32)
    smooth = np.cumsum(rng.standard_normal((4, draft.window), dtype=np.float32), axis=1)
    smooth = (smooth - smooth.mean(axis=1, keepdims=True)) / smooth.std(axis=1, keepdims=True)
    parts = [rough, smooth]
    if windows is not None:
        if windows.ndim != 2 or windows.shape[1] != draft.window:
            raise ModelError(f"expected windows of (n, {draft.window}), not {windows.shape}")
        parts.append(windows.astype(np.float32))
    x = joint(torch.from_numpy(np.concatenate(parts)))
    if not draft.context_entries:
        return x, None
    told = rng.standard_normal((len(x), draft.context_entries), dtype=np.float32)
    told[::3] = 0.0
    return x, torch.from_numpy(told)


def _off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _within(tolerance: float, what: str, found: Tensor, expected: Tensor) -> float:
    off = _off(found, expected)
    if not off <= tolerance:
        raise ModelError(
            f"{what} is off by {off:.1e} of the output's scale, more than {tolerance:.0e}; "
            "nothing was written"
        )
    return off


Made = tuple[bytes, Tensor]


def _script(model: InnPar, x: Tensor, told: Tensor | None) -> Made:
    content = script.to_bytes(script.scripted(fold(model)))
    found: Tensor = script.from_bytes(content)(x, told)
    return content, found


def _aot(model: InnPar, x: Tensor, told: Tensor | None) -> Made:
    from innpar.models.formats.aot_file import compiled, run_compiled

    content = compiled(fold(model, portable=True), x, told)
    return content, run_compiled(content)(x, told)


def _onnx(model: InnPar, x: Tensor, told: Tensor | None) -> Made:
    from innpar.models.formats.onnx_file import load_onnx, to_onnx

    content = to_onnx(fold(model, portable=True), x, told)
    return content, load_onnx(content)(x, told)


_TARGETS: dict[Target, Callable[[InnPar, Tensor, Tensor | None], Made]] = {
    "torchscript": _script,
    "aot": _aot,
    "onnx": _onnx,
}


def _write(directory: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """Write the files under names of their own, the manifest last, then drop what it replaces.

    The old manifest and everything it names stay whole until the new one takes its place.
    """
    before = _before(directory)
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if name not in before:
                written.append(directory / name)
            write_whole(directory / name, content)
        write_whole(directory / NAME, manifest.to_json().encode())
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise ModelError(
            f"{directory} could not be written ({error.strerror}); what was there is intact"
        ) from None
    for name in before - manifest.files.keys():
        (directory / name).unlink(missing_ok=True)


def _before(directory: Path) -> set[str]:
    try:
        return set(read_manifest(directory / NAME).files)
    except ModelError:
        return set()
