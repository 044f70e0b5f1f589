"""Reading a model folder: manifest, verified files, weights (``.safetensors``); no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from innpar.models.errors import ModelError
from innpar.models.manifest import NAME, Manifest, read_manifest, verified_bytes
from innpar.models.network.parameters import check_parameters, shapes


def open_model(path: Path) -> tuple[Path, Manifest]:
    """Return a model's folder and manifest, after verifying the hash of every file.

    Args:
        path: A ``manifest.json`` or its folder.

    Raises:
        ModelError: The manifest is invalid, or a file is missing or does not match its hash.
    """
    file = path / NAME if path.is_dir() else path
    folder, manifest = file.parent, read_manifest(file)
    for name in manifest.files:
        verified_bytes(folder, manifest, name)
    return folder, manifest


def read_weights(folder: Path, manifest: Manifest) -> dict[str, npt.NDArray[np.float32]]:
    """Read the parameters of the unfolded network that a manifest describes, by name.

    Raises:
        ModelError: The weights cannot be read or do not fit.
    """
    name = manifest.file("weights") or ""
    content = verified_bytes(folder, manifest, name)
    try:
        state = load_safetensors(content)
    except SafetensorError as error:
        raise ModelError(f"{folder / name} cannot be read: {error}; get the model again") from None
    a = manifest.architecture
    try:
        expected = shapes(a.blocks, a.features, a.kernel, len(a.context))
    except ValueError as error:
        raise ModelError(
            f"the manifest in {folder} describes an impossible network: {error}"
        ) from None
    check_parameters(expected, state)
    return {name: np.asarray(value, np.float32) for name, value in state.items()}
