"""Reading a model folder: manifest, verified files, weights (``.safetensors``)."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from innpar.models.errors import ModelError
from innpar.models.manifest import NAME, Manifest, read_manifest, verified_bytes
from innpar.models.network.innpar import InnPar
from innpar.models.network.loading import load_strictly


def load_network(path: Path) -> tuple[InnPar, Manifest]:
    """Build the unfolded network from a model's weights.

    Args:
        path: A ``manifest.json`` or its folder.

    Raises:
        ModelError: A file is missing, invalid, or does not match its hash.
    """
    folder, manifest = open_model(path)
    return build_network(folder, manifest), manifest


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


def build_network(folder: Path, manifest: Manifest) -> InnPar:
    """Build the unfolded network that a manifest describes, with its weights.

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
        model = InnPar(a.blocks, a.features, a.kernel, a.clamp, len(a.context))
    except ValueError as error:
        raise ModelError(
            f"the manifest in {folder} describes an impossible network: {error}"
        ) from None
    return load_strictly(model, state)
