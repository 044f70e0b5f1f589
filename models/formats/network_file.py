"""The unfolded network from a model folder, for training, export and torch's backends."""

from __future__ import annotations

from pathlib import Path

import torch

from innpar.models.formats.weights_file import open_model, read_weights
from innpar.models.manifest import Manifest
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


def build_network(folder: Path, manifest: Manifest) -> InnPar:
    """Build the unfolded network that a manifest describes, with its weights.

    Raises:
        ModelError: The weights cannot be read or do not fit.
    """
    state = read_weights(folder, manifest)
    a = manifest.architecture
    model = InnPar(a.blocks, a.features, a.kernel, a.clamp, len(a.context))
    return load_strictly(model, {k: torch.from_numpy(v.copy()) for k, v in state.items()})
