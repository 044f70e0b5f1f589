"""Networks that run in torch: arrays in and out; TorchScript, eager and AOTInductor."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats import torchscript
from innpar.models.formats.network_file import build_network
from innpar.models.formats.trust import check_trusted
from innpar.models.manifest import Manifest, verified_bytes
from innpar.models.network.fold import fold
from innpar.models.network.folding import Floats
from innpar.models.network.kernel import Network

TorchCall = Callable[[Tensor, Tensor | None], Tensor]
"""(batch, 2, window) and context (batch, entries) → (batch, 2, window)."""


class TorchNetwork:
    """Two functions of tensors as a network of arrays.

    Args:
        forward: PPG and gradient → ABP and gradient.
        inverse: Its inverse under the same context.
        device: Torch device of both.
    """

    def __init__(self, forward: TorchCall, inverse: TorchCall, device: str = "cpu") -> None:
        self._forward, self._inverse = forward, inverse
        self.device = device

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(self._forward, x, context)

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(self._inverse, y, context)

    def _run(self, run: TorchCall, x: npt.ArrayLike, context: npt.ArrayLike | None) -> Floats:
        with torch.inference_mode():
            part = None if context is None else self._there(context)
            found: Floats = run(self._there(x), part).cpu().numpy()
        return found

    def _there(self, values: npt.ArrayLike) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self.device)


def instructions(device: str) -> str:
    """Return the instruction set in use by torch, or the GPU's name."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability().lower()


def load(folder: Path, manifest: Manifest, backend: str, device: str) -> Network:
    """Load the network of a backend of torch: ``torchscript``, ``eager`` or ``aot``.

    Raises:
        ModelError: The model has no file for it, none for this processor, or none to be trusted.
    """
    if backend == "aot":
        return _aot(folder, manifest)
    if backend == "torchscript":
        name = manifest.file_for("torchscript")
        content = verified_bytes(folder, manifest, name)
        check_trusted(folder, manifest, [name])
        module = torchscript.from_bytes(content, device)
        return TorchNetwork(module, module.inverse, device)
    folded = fold(build_network(folder, manifest)).to(device)
    return TorchNetwork(folded, folded.inverse, device)


def _aot(folder: Path, manifest: Manifest) -> Network:
    """Load the compiled files; eager code inverts for a model that was compiled forward only."""
    from innpar.models.formats.aot_file import load_compiled

    name = manifest.file("aot_inverse")
    check_trusted(folder, manifest, [manifest.file_for("aot"), *([name] if name else [])])
    forward = load_compiled(folder, manifest, manifest.file_for("aot"))
    if name is None:
        return TorchNetwork(forward, fold(build_network(folder, manifest)).inverse)
    return TorchNetwork(forward, load_compiled(folder, manifest, name))


def set_threads(threads: int) -> None:
    """Set the number of threads that torch computes with in this process."""
    torch.set_num_threads(threads)


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
