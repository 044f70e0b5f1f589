"""`Predictor`: a loaded model as a function from PPG windows to pressure windows."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.models.errors import ModelError
from innpar.models.formats.backends import Backend, load_backend, split
from innpar.models.formats.weights_file import open_model
from innpar.models.manifest import SHIPPED, Architecture, Manifest
from innpar.models.network.kernel import Network, with_gradient

__all__ = ["Architecture", "Backend", "Manifest", "Prediction", "Predictor"]

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Reconstructed pressure of a batch of windows.

    `consistency` and `reverse` increase on corrupted input; they do not reveal a biased pressure.
    The manifest's `confidence` holds their 95th percentiles on good windows.

    Attributes:
        abp: (batch, window) arterial pressure, mmHg, at the manifest's `rate`. The first and last
            `manifest.drop` samples are not exact.
        gradient: (batch, window) the network's own output for the gradient of `abp`, mmHg per two
            samples (see `innpar.models.network.innpar.gradient`).
        consistency: (batch,) RMS difference between `gradient` and the gradient of `abp`, relative
            to the RMS of the latter, without `manifest.drop` samples at either end.
        reverse: (batch,) RMS difference between the input and the network's inverse of `abp` and
            its gradient, relative to the RMS of the input, without `manifest.drop` samples at
            either end; 0 for windows where it was not requested.
    """

    abp: Floats
    gradient: Floats
    consistency: Floats
    reverse: Floats


class Predictor:
    """A loaded model: windows of PPG in, windows of arterial pressure (ABP) out.

    Create one with `load`; call it with conditioned windows, as `Manifest` describes them: `window`
    samples at `rate` Hz, band-passed to `band`, pulse upward.

    >>> import numpy as np
    >>> from innpar.models import Predictor
    >>> predictor = Predictor.load()
    >>> time = np.arange(predictor.manifest.window) / predictor.manifest.rate
    >>> ppg = np.sin(2 * np.pi * np.array([[1.0], [1.2]]) * time)  # two windows: 60, 72 beats/min
    >>> predictor(ppg).abp.shape
    (2, 640)

    A window's result is the same, bit for bit, in any batch and at any position in it. The compiled
    kernel and numpy compute so; the other backends are checked at load, and where batches round
    differently, windows run one at a time.

    The network is INN-PAR: S. Kundu et al., INN-PAR: Invertible Neural Network for PPG to ABP
    Reconstruction, ICASSP 2025, doi 10.1109/ICASSP49660.2025.10888915.

    Args:
        manifest: Description of the model.
        network: Forward function, (batch, 2, window) and context → (batch, 2, window), and inverse.
        backend: Name of the backend, for information.
        device: ``cpu``, ``cuda`` or ``cuda:N``, for information.
        instructions: Instruction set, GPU or runtime of the network, for information.

    Attributes:
        manifest: Description of the model: input, output, provenance, accuracy, licence.
        backend: Backend in use: native, torchscript, eager, aot, onnx or numpy.
        device: Device in use: ``cpu``, ``cuda`` or ``cuda:N``.
        instructions: What determines the last bits of the results, e.g. ``avx2``.
    """

    def __init__(
        self,
        manifest: Manifest,
        network: Network,
        backend: str,
        device: str = "cpu",
        instructions: str = "",
    ) -> None:
        self.manifest = manifest
        self.backend = backend
        self.device = device
        self.instructions = instructions
        self._network = network

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        *,
        backend: str | None = None,
        compute: str = "cpu",
        threads: int | None = None,
    ) -> Predictor:
        """Load a model; verify its files by their hashes and its backend on golden windows.

        Args:
            path: A ``manifest.json`` or its folder; None for the model that comes with the package.
            backend: ``native`` (the compiled kernel); ``numpy``; ``torchscript``; ``eager`` (the
                weights, run by this package's code in torch); ``aot`` (compiled for one kind of
                processor); ``onnx``; ``cuda`` or ``cuda:N`` (TorchScript there). None chooses
                ``native``, or ``numpy`` where no kernel was built.
            compute: ``cpu``; ``cuda`` or ``cuda:N`` (backends torchscript and eager only); ``auto``
                for CUDA if it is available and agrees with the CPU, otherwise the CPU.
            threads: Threads of torch, if it runs the network; None leaves them as they are.

        Raises:
            ModelError: A file is missing or does not match its hash, the manifest is invalid, the
                weights do not fit the network, a file that runs code is not trusted, the backend
                or GPU is not available, or its pressures deviate from those of the weights.
        """
        name, device = split(backend) if backend else (None, None)
        compute = device or compute
        if compute == "auto":
            if name in (None, "torchscript", "eager") and _has_cuda():
                try:
                    return cls.load(path, backend=name, compute="cuda", threads=threads)
                except ModelError as error:
                    log.warning("the GPU is not used: %s", error)
            compute = "cpu"
        folder, manifest = open_model(SHIPPED if path is None else path)
        found = load_backend(folder, manifest, name, compute, threads)
        return cls(manifest, found.network, found.backend, found.device, found.instructions)

    @property
    def id(self) -> str:
        """Name, version and hash of the model, e.g. ``innpar-0.2.0@sha256:15dde5dd17f5``."""
        return self.manifest.id

    @property
    def runs_on(self) -> str:
        """Backend and instruction set or GPU, e.g. ``native avx2``: together they fix every bit."""
        return f"{self.backend} {self.instructions}".rstrip()

    def __call__(
        self,
        ppg: npt.ArrayLike,
        context: npt.ArrayLike | None = None,
        *,
        reverse: bool | npt.NDArray[np.bool_] = False,
    ) -> Prediction:
        """Reconstruct the arterial pressure of each window.

        Args:
            ppg: (batch, window) conditioned PPG at the manifest's `rate`, pulse upward, any unit:
                each window is normalised here.
            context: (batch, entries) as named by ``manifest.architecture.context``, see
                `innpar.models.calibration.context.context`. None, or a row of zeros: the window is
                not calibrated.
            reverse: Also compute `Prediction.reverse`, which doubles the cost; a mask (batch,)
                selects the windows.

        Returns:
            The pressures and two measures of consistency.

        Raises:
            ValueError: A shape does not match the manifest, or a value is not finite.
        """
        x = self._normalised(np.asarray(ppg, dtype=np.float32))
        c = self._checked_context(context, len(x))
        y = self._network.forward(with_gradient(x), c)
        back = x
        selected = np.flatnonzero(np.broadcast_to(reverse, len(x)))
        if len(selected):
            back = x.copy()
            part = None if c is None else c[selected]
            back[selected] = self._network.inverse(with_gradient(y[selected, 0]), part)[:, 0]
        return self._prediction(x, y, back)

    def _normalised(self, ppg: Floats) -> Floats:
        m = self.manifest
        if ppg.ndim != 2 or ppg.shape[1] != m.window:
            raise ValueError(f"expected windows of (batch, {m.window}), not {ppg.shape}")
        if not np.isfinite(ppg).all():
            row = int(np.flatnonzero(~np.isfinite(ppg).all(axis=1))[0])
            raise ValueError(f"window {row} holds NaN or infinity; leave windows with gaps out")
        wide = ppg.astype(np.float64)
        if m.normalisation == "zscore":
            wide -= wide.mean(axis=1, keepdims=True)
        wide /= np.maximum(wide.std(axis=1, keepdims=True), 1e-9)
        return wide.astype(np.float32)

    def _checked_context(self, context: npt.ArrayLike | None, batch: int) -> Floats | None:
        entries = self.manifest.context_entries
        if context is None:
            return np.zeros((batch, entries), np.float32) if entries else None
        values = np.ascontiguousarray(context, dtype=np.float32)
        if values.shape != (batch, entries):
            raise ValueError(f"expected a context of ({batch}, {entries}), not {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("the context holds NaN or infinity")
        return values if entries else None

    def _prediction(self, x: Floats, y: Floats, back: Floats) -> Prediction:
        m = self.manifest
        scale, offset = np.float32(m.abp_scale), np.float32(m.abp_offset)
        inside = slice(m.drop, m.window - m.drop)
        implied = np.zeros_like(y[:, 0])
        implied[:, 1:-1] = y[:, 0, 2:] - y[:, 0, :-2]
        difference = _rms(implied[:, inside] - y[:, 1, inside])
        consistency = difference / np.maximum(_rms(implied[:, inside]), 1e-9)
        difference = _rms(back[:, inside] - x[:, inside])
        residual = difference / np.maximum(_rms(x[:, inside]), 1e-9)
        return Prediction(
            abp=y[:, 0] * scale + offset,
            gradient=y[:, 1] * scale,
            consistency=consistency.astype(np.float32),
            reverse=residual.astype(np.float32),
        )


def _has_cuda() -> bool:
    """Return whether torch is installed and finds a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _rms(values: Floats) -> npt.NDArray[np.float64]:
    wide = np.ascontiguousarray(values, dtype=np.float64)
    return np.asarray(np.sqrt(np.square(wide).mean(axis=1)))
