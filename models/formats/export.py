"""Export of a trained network to a model folder: weights, folded network, manifest.

The weights are the source; every other file is generated from them and verified against them.
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
from innpar.models.formats import torchscript
from innpar.models.formats.aot_file import processor
from innpar.models.formats.network_file import load_network
from innpar.models.formats.trust import trust_own_export
from innpar.models.manifest import NAME, SUFFIXES, Architecture, Kind, Manifest, read_manifest
from innpar.models.network.fold import FoldedInverse, fold
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
    """Write a model folder; on failure the previous model stays intact.

    Args:
        model: The network.
        directory: Model folder; created if missing. Files of other names are kept.
        fields: Attributes of `Manifest`: at least name, version, abp_offset and abp_scale.
        context: Names of the context's entries.
        windows: (n, window) normalised real windows for the verification, beside random ones.
        targets: Formats to export to. ``aot`` runs on this kind of processor only.

    Returns:
        The manifest written.

    Raises:
        ModelError: The folded network deviates by more than 1e-4 of the output's scale, an
            exported one by more than 1e-5 from the folded one, or a file cannot be written.
    """
    architecture = Architecture(
        len(model.blocks), model.features, model.kernel, model.clamp, tuple(context)
    )
    if len(architecture.context) != model.context:
        raise ModelError(
            f"the network takes {model.context} context entries, but {len(context)} names are given"
        )
    draft = Manifest(
        **{"code_version": importlib.metadata.version("innpar-stream"), **fields},
        architecture=architecture,
    )
    contents, verified = _contents(model.eval(), draft, windows, targets)
    stem = f"{draft.name}-{hashlib.sha256(contents['weights']).hexdigest()[:12]}"
    files = {stem + SUFFIXES[kind]: content for kind, content in contents.items()}
    manifest = dataclasses.replace(
        draft,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        verified=verified,
        built_for={
            stem + SUFFIXES[kind]: processor() for kind in contents if kind.startswith("aot")
        },
    )
    _write(directory, manifest, files)
    trust_own_export(directory, manifest)
    return manifest


def export_again(model: Path, directory: Path, targets: Sequence[Target]) -> Manifest:
    """Export an existing model to TorchScript and `targets`.

    Args:
        model: A ``manifest.json`` or its folder.
        directory: Model folder to write, as in `export`.
        targets: Further formats.

    Raises:
        ModelError: `model` is unusable, or one of the errors of `export`.
    """
    network, manifest = load_network(model)
    regenerated = {"architecture", "files", "verified", "built_for", "code_version"}
    fields = {
        field.name: getattr(manifest, field.name)
        for field in dataclasses.fields(manifest)
        if field.name not in regenerated
    }
    return export(
        network,
        directory,
        fields,
        context=manifest.architecture.context,
        targets=("torchscript", *targets),
    )


def _contents(
    model: InnPar,
    draft: Manifest,
    windows: npt.NDArray[np.float32] | None,
    targets: Sequence[Target],
) -> tuple[dict[Kind, bytes], dict[str, float]]:
    """Return each file's content, and the deviations relative to the output's scale."""
    state = {
        k: v.detach().to("cpu", torch.float32).contiguous() for k, v in model.state_dict().items()
    }
    reference = load_strictly(InnPar(*_arguments(model)), state)
    folded = fold(reference)
    x, context = _test_inputs(draft, windows)
    contents: dict[Kind, bytes] = {"weights": safetensors_bytes(state)}
    with torch.inference_mode():
        y = reference(x, context)
        verified = {
            "inverse": _deviation(reference.inverse(y, context), x),
            "folded": _check_deviation("the folded network", folded(x, context), y, FOLD_TOLERANCE),
        }
        if verified["inverse"] > INVERSE_TOLERANCE:
            log.warning(
                "the inverse reproduces random windows only to %.1e of their scale; its noise gain "
                "increases with training",
                verified["inverse"],
            )
        y = folded(x, context)
        for target in targets:
            made, found = _TARGETS[target](reference, x, context)
            contents |= made
            verified[target] = _check_deviation(f"the {target} export", found, y, SCRIPT_TOLERANCE)
    return contents, verified


def _arguments(model: InnPar) -> tuple[int, int, int, float, int]:
    return len(model.blocks), model.features, model.kernel, model.clamp, model.context


def _test_inputs(
    draft: Manifest, windows: npt.NDArray[np.float32] | None
) -> tuple[Tensor, Tensor | None]:
    """Return random windows (noise, random walks) and the given ones, with random contexts."""
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
    context = rng.standard_normal((len(x), draft.context_entries), dtype=np.float32)
    context[::3] = 0.0
    return x, torch.from_numpy(context)


def _deviation(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _check_deviation(name: str, found: Tensor, expected: Tensor, tolerance: float) -> float:
    deviation = _deviation(found, expected)
    if not deviation <= tolerance:
        raise ModelError(
            f"{name} is off by {deviation:.1e} of the output's scale, more than {tolerance:.0e}; "
            "nothing was written"
        )
    return deviation


Exported = tuple[dict[Kind, bytes], Tensor]
"""Content of each file, and the forward network's output on the test inputs."""


def _torchscript(model: InnPar, x: Tensor, context: Tensor | None) -> Exported:
    content = torchscript.to_bytes(torchscript.scripted(fold(model)))
    found: Tensor = torchscript.from_bytes(content)(x, context)
    return {"torchscript": content}, found


def _aot(model: InnPar, x: Tensor, context: Tensor | None) -> Exported:
    from innpar.models.formats.aot_file import compiled, run_compiled

    folded = fold(model, portable=True)
    content = compiled(folded, x, context)
    back = compiled(FoldedInverse(folded).eval(), x, context)
    return {"aot": content, "aot_inverse": back}, run_compiled(content)(x, context)


def _onnx(model: InnPar, x: Tensor, context: Tensor | None) -> Exported:
    from innpar.models.formats.onnx_file import OnnxNetwork, to_onnx

    folded = fold(model, portable=True)
    content = to_onnx(folded, x, context)
    back = to_onnx(FoldedInverse(folded).eval(), x, context)
    found = OnnxNetwork(content, back).forward(x, context)
    return {"onnx": content, "onnx_inverse": back}, torch.from_numpy(found)


_TARGETS: dict[Target, Callable[[InnPar, Tensor, Tensor | None], Exported]] = {
    "torchscript": _torchscript,
    "aot": _aot,
    "onnx": _onnx,
}


def _write(directory: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    """Write the files, then the manifest, then delete the files of the previous manifest.

    File names contain the hash of the weights, so the previous model stays usable until the new
    manifest replaces the old one.
    """
    before = _previous_files(directory)
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
            f"{directory} could not be written ({error.strerror}); the previous model is intact"
        ) from None
    for name in before - manifest.files.keys():
        (directory / name).unlink(missing_ok=True)


def _previous_files(directory: Path) -> set[str]:
    try:
        return set(read_manifest(directory / NAME).files)
    except ModelError:
        return set()
