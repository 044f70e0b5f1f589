"""Backends: the ways in which a model's network can run, each as a pair of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats import torchscript
from innpar.models.formats.weights_file import build_network
from innpar.models.manifest import Manifest, verified_bytes
from innpar.models.network.fold import Folded, fold

Backend = Literal["torchscript", "eager", "aot", "onnx"]
Network = Callable[[Tensor, Tensor | None], Tensor]
"""(batch, 2, window) and context (batch, entries) → (batch, 2, window)."""

Loader = Callable[[Path, Manifest, str], tuple[Network, Network]]
"""Model folder, manifest and torch device → forward and inverse."""


def _eager(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    folded = fold(build_network(folder, manifest)).to(device)
    return folded, folded.inverse


def _torchscript(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    if not torchscript.SUPPORTED:
        raise ModelError("this Python has no TorchScript; use the eager backend")
    content = verified_bytes(folder, manifest, _file_name(manifest, "torchscript"))
    module = torchscript.from_bytes(content, device)
    return module, module.inverse


def _aot(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    from innpar.models.formats.aot_file import load_compiled

    network = load_compiled(folder, manifest, _file_name(manifest, "aot"))
    return network, _lazy_inverse(folder, manifest)


def _onnx(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    from innpar.models.formats.onnx_file import load_onnx

    content = verified_bytes(folder, manifest, _file_name(manifest, "onnx"))
    return load_onnx(content), _lazy_inverse(folder, manifest)


def _file_name(manifest: Manifest, kind: Literal["torchscript", "aot", "onnx"]) -> str:
    if (name := manifest.file(kind)) is None:
        raise ModelError(f"{manifest.id} has no {kind} file; export the model for {kind}")
    return name


def _lazy_inverse(folder: Path, manifest: Manifest) -> Network:
    """Return the eager inverse, for backends that only run forward; folded at the first call."""
    folded: list[Folded] = []

    def inverse(y: Tensor, context: Tensor | None) -> Tensor:
        if not folded:
            folded.append(fold(build_network(folder, manifest)))
        x: Tensor = folded[0].inverse(y, context)
        return x

    return inverse


LOADERS: Mapping[Backend, Loader] = {
    "torchscript": _torchscript,
    "eager": _eager,
    "aot": _aot,
    "onnx": _onnx,
}


def batch_invariant(network: Network, x: Tensor, context: Tensor | None) -> bool:
    """Return whether a window gives the same bits alone and in any batch.

    Args:
        network: Forward or inverse.
        x: (batch, 2, window), the windows to try.
        context: (batch, entries); None for a network without context.
    """
    for _ in range(2):  # a script's first run only records
        alone = [
            network(x[i : i + 1], None if context is None else context[i : i + 1])
            for i in range(len(x))
        ]
    each = torch.cat(alone)
    return all(
        torch.equal(network(x[:size], None if context is None else context[:size]), each[:size])
        for size in range(2, len(x) + 1)
    )


def check_gpu(compute: str, backend: str) -> None:
    """Check that a backend can run on a GPU of this computer.

    Args:
        compute: ``cuda`` or ``cuda:N``.
        backend: Name of the backend.

    Raises:
        ModelError: It cannot.
    """
    if re.fullmatch(r"cuda(:\d+)?", compute) is None:
        raise ModelError(f"unknown compute device {compute!r}; use auto, cpu, cuda or cuda:N")
    if backend not in ("torchscript", "eager"):
        raise ModelError(f"the {backend} backend runs on the CPU only; use --compute cpu")
    if not torch.cuda.is_available():
        raise ModelError(
            "CUDA is not available: install a GPU driver and a torch built for it, or use "
            "--compute cpu"
        )
