"""Backends: the ways in which a model's network can run, and the choice among them."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from innpar.models.errors import ModelError
from innpar.models.formats.batches import ExactBatches
from innpar.models.formats.golden import check_golden
from innpar.models.formats.trust import is_trusted
from innpar.models.formats.weights_file import read_weights
from innpar.models.manifest import Manifest
from innpar.models.network.folding import FoldedWeights, fold_weights
from innpar.models.network.kernel import NativeNetwork, Network, NumpyNetwork

log: logging.Logger = logging.getLogger(__name__)

Backend = Literal["native", "torchscript", "eager", "aot", "onnx", "numpy"]
NAMES: tuple[Backend, ...] = get_args(Backend)
LONGEST_KERNEL = 5
"""Taps of the convolutions that `fold_weights` folds; torch runs longer ones."""


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network that is ready to run.

    Attributes:
        network: Forward and inverse; a window gives the same bits in any batch.
        backend: Backend in use.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        instructions: Instruction set, GPU or runtime that determines the last bits.
    """

    network: Network
    backend: Backend
    device: str
    instructions: str


def split(name: str) -> tuple[Backend | None, str | None]:
    """Return the backend and device named by a user: ``cuda[:N]`` is TorchScript on a GPU.

    Raises:
        ModelError: No such backend.
    """
    if re.fullmatch(r"cuda(:\d+)?", name):
        return None, name
    if name not in NAMES:
        raise ModelError(f"unknown backend {name!r}; choose one of {', '.join(NAMES)}, cuda[:N]")
    return name, None


def load_backend(
    folder: Path,
    manifest: Manifest,
    backend: Backend | None,
    device: str = "cpu",
    threads: int | None = None,
) -> LoadedNetwork:
    """Load a model's network and check it against the golden windows.

    Args:
        folder: Folder of the model.
        manifest: Its manifest.
        backend: None for the best of this installation: on a CPU the compiled kernel, else numpy;
            on a GPU TorchScript where the model and Python have it, else eager.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Threads of torch, where it runs; None leaves them.

    Raises:
        ModelError: The backend is not available, or its results deviate.
    """
    if backend is not None:
        return _load(folder, manifest, backend, device, threads)
    first, *others = _candidates(manifest, device)
    for other in (*others, None):
        try:
            return _load(folder, manifest, first, device, threads)
        except _NotHereError as error:
            if other is None:
                raise
            log.info("%s", error)
            first = other
    raise AssertionError


class _NotHereError(ModelError):
    """A backend that this installation lacks."""


def _candidates(manifest: Manifest, device: str) -> tuple[Backend, ...]:
    """Return the backends to try, best first."""
    if device == "cpu" and manifest.architecture.kernel <= LONGEST_KERNEL:
        return ("native", "numpy")
    script = manifest.file("torchscript")
    return ("torchscript", "eager") if script and is_trusted(manifest, script) else ("eager",)


def _load(
    folder: Path, manifest: Manifest, backend: Backend, device: str, threads: int | None
) -> LoadedNetwork:
    weights = _folded(folder, manifest)
    if device != "cpu" or backend not in _ON_ARRAYS:
        loaded = _in_torch(folder, manifest, backend, device, threads)
    elif weights is None:
        taps = manifest.architecture.kernel
        raise ModelError(f"{backend} does not run kernels of {taps} taps; use --backend eager")
    else:
        loaded = _ON_ARRAYS[backend](folder, manifest, weights)
    if weights is not None and backend != "numpy":
        name = backend if device == "cpu" else f"{device} ({backend})"
        check_golden(loaded.network, NumpyNetwork(weights), manifest, name)
    return loaded


def _folded(folder: Path, manifest: Manifest) -> FoldedWeights | None:
    """Return the folded weights; None for kernels longer than `fold_weights` takes."""
    state = read_weights(folder, manifest)
    if manifest.architecture.kernel > LONGEST_KERNEL:
        return None
    return fold_weights(state, manifest.architecture.clamp)


def _native(folder: Path, manifest: Manifest, weights: FoldedWeights) -> LoadedNetwork:
    try:
        network = NativeNetwork(weights)
    except OSError as error:
        raise _NotHereError(
            f"{error}; install g++ and this package again, or use --backend numpy"
        ) from None
    return LoadedNetwork(network, "native", "cpu", network.instructions)


def _numpy(folder: Path, manifest: Manifest, weights: FoldedWeights) -> LoadedNetwork:
    return LoadedNetwork(NumpyNetwork(weights), "numpy", "cpu", platform.machine())


def _onnx(folder: Path, manifest: Manifest, weights: FoldedWeights) -> LoadedNetwork:
    from innpar.models.formats.onnx_file import instructions, load_onnx

    network = load_onnx(folder, manifest, _other_inverse(weights))
    return LoadedNetwork(ExactBatches(network, manifest), "onnx", "cpu", instructions())


_ON_ARRAYS: Mapping[Backend, Callable[[Path, Manifest, FoldedWeights], LoadedNetwork]] = {
    "native": _native,
    "numpy": _numpy,
    "onnx": _onnx,
}
"""Backends without torch."""


def _other_inverse(weights: FoldedWeights) -> Network:
    """Return the network whose inverse serves a file that only runs forward."""
    try:
        return NativeNetwork(weights)
    except OSError:
        return NumpyNetwork(weights)


def _in_torch(
    folder: Path, manifest: Manifest, backend: Backend, device: str, threads: int | None
) -> LoadedNetwork:
    try:
        from innpar.models.formats import torch_networks, torchscript
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise _NotHereError(
            f"the {backend} backend needs torch, which is not installed: scripts/setup torch"
        ) from None
    if device != "cpu":
        torch_networks.check_gpu(device, backend)
    if threads is not None:
        torch_networks.set_threads(threads)
    if backend == "torchscript" and not torchscript.SUPPORTED:
        raise _NotHereError("this Python has no TorchScript; use --backend eager")
    try:
        network = torch_networks.load(folder, manifest, backend, device)
        exact = ExactBatches(network, manifest)
    except (RuntimeError, AssertionError) as error:  # raised by torch
        if device == "cpu":
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{device} cannot be used ({first}); use --compute cpu") from None
    return LoadedNetwork(exact, backend, device, torch_networks.instructions(device))
