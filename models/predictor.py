"""`Predictor`: a loaded model as a function from PPG windows to pressure windows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats import torchscript
from innpar.models.formats.backends import LOADERS, Backend, Network, batch_invariant, check_gpu
from innpar.models.formats.weights_file import open_model
from innpar.models.manifest import Architecture, Manifest
from innpar.models.network.innpar import joint

__all__ = ["Architecture", "Backend", "Manifest", "Prediction", "Predictor"]

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

SHIPPED = Path(__file__).parent / "weights"
"""Folder of the model that comes with the package."""
GPU_TOLERANCE = 1e-4
"""Largest accepted difference between GPU and CPU, relative to the output's scale."""
MICRO_BATCH = 8
"""Windows that go through the network together; more do not fit in a core's cache."""


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

    A window's result is the same, bit for bit, in any batch and at any position in it. Loading
    checks this on the present processor; where it does not hold, windows run one at a time.

    The network is INN-PAR: S. Kundu et al., INN-PAR: Invertible Neural Network for PPG to ABP
    Reconstruction, ICASSP 2025, doi 10.1109/ICASSP49660.2025.10888915.

    torch's thread count is left to the caller; one thread per process is the most efficient
    (`torch.set_num_threads(1)`).

    Args:
        manifest: Description of the model.
        network: Forward function, (batch, 2, window) and context → (batch, 2, window).
        inverse: Its inverse under the same context.
        backend: Name of the backend, for information.
        device: Torch device of both functions.

    Attributes:
        manifest: Description of the model: input, output, provenance, accuracy, licence.
        backend: Backend in use: ``torchscript``, ``eager``, ``aot`` or ``onnx``.
        device: Device in use: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(
        self,
        manifest: Manifest,
        network: Network,
        inverse: Network,
        backend: str,
        device: str = "cpu",
    ) -> None:
        self.manifest = manifest
        self.backend = backend
        self.device = device
        self._network = network
        self._inverse = inverse
        self._batch = self._exact_batch()

    @classmethod
    def load(
        cls, path: Path | None = None, *, backend: Backend | None = None, compute: str = "cpu"
    ) -> Predictor:
        """Load a model; verify its files against the hashes in its manifest.

        Args:
            path: A ``manifest.json`` or its folder; None for the model that comes with the package.
            backend: ``torchscript``; ``eager`` (the weights, run by this package's code); ``aot``
                (compiled for one kind of processor); ``onnx``. None chooses TorchScript if Python
                supports it and the model has the file, otherwise eager.
            compute: ``cpu``; ``cuda`` or ``cuda:N`` (backends torchscript and eager only); ``auto``
                for CUDA if it is available and agrees with the CPU, otherwise the CPU.

        Raises:
            ModelError: A file is missing or does not match its hash, the manifest is invalid, the
                weights do not fit the network, or the backend or GPU is not available.
        """
        if compute == "auto":
            return cls._load_auto(path, backend)
        folder, manifest = open_model(SHIPPED if path is None else path)
        if backend is None:
            has_script = manifest.file("torchscript") is not None and torchscript.SUPPORTED
            backend = "torchscript" if has_script else "eager"
        if backend not in get_args(Backend):
            known = ", ".join(get_args(Backend))
            raise ModelError(f"unknown backend {backend!r}; choose one of {known}")
        if compute == "cpu":
            return cls(manifest, *LOADERS[backend](folder, manifest, compute), backend)
        check_gpu(compute, backend)
        try:
            return cls._on_gpu(manifest, folder, backend, compute)
        except (RuntimeError, AssertionError) as error:  # raised by torch
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{compute} cannot be used ({first}); use --compute cpu") from None

    @classmethod
    def _load_auto(cls, path: Path | None, backend: Backend | None) -> Predictor:
        if torch.cuda.is_available() and backend in (None, "torchscript", "eager"):
            try:
                return cls.load(path, backend=backend, compute="cuda")
            except ModelError as error:
                log.warning("the GPU is not used: %s", error)
        return cls.load(path, backend=backend)

    @classmethod
    def _on_gpu(cls, manifest: Manifest, folder: Path, backend: Backend, compute: str) -> Predictor:
        """Load on a GPU; compare with the CPU on windows of noise."""
        gpu = cls(manifest, *LOADERS[backend](folder, manifest, compute), backend, compute)
        cpu = cls(manifest, *LOADERS[backend](folder, manifest, "cpu"), backend)
        noise = np.random.default_rng(1).standard_normal((4, manifest.window))
        found, expected = gpu(noise).abp, cpu(noise).abp
        scale = np.abs(expected - manifest.abp_offset).max()
        deviation = float(np.abs(found - expected).max() / scale)
        if not deviation <= GPU_TOLERANCE:
            raise ModelError(
                f"{compute} differs from the CPU by {deviation:.1e} of the output's scale, more "
                f"than {GPU_TOLERANCE:.0e}; use --compute cpu"
            )
        return gpu

    @property
    def id(self) -> str:
        """Name, version and hash of the model, e.g. ``innpar-0.2.0@sha256:15dde5dd17f5``."""
        return self.manifest.id

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
        y = np.empty((len(x), 2, self.manifest.window), np.float32)
        for rows, part in self._batches(np.arange(len(x)), c):
            y[rows] = self._network(joint(self._on_device(x[rows])), part).cpu().numpy()
        selected = np.flatnonzero(np.broadcast_to(reverse, len(x)))
        back = x.copy()
        for rows, part in self._batches(selected, c):
            found = self._inverse(joint(self._on_device(y[rows, 0])), part)
            back[rows] = found[:, 0].cpu().numpy()
        return self._prediction(x, y, back)

    def _batches(
        self, rows: npt.NDArray[np.int64], context: Floats | None
    ) -> Iterator[tuple[npt.NDArray[np.int64], Tensor | None]]:
        """Yield batches of rows with their context, in inference mode."""
        with torch.inference_mode():
            for start in range(0, len(rows), self._batch):
                part = rows[start : start + self._batch]
                yield part, None if context is None else self._on_device(context[part])

    def _on_device(self, values: Floats) -> Tensor:
        return torch.from_numpy(values).to(self.device)

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

    def _exact_batch(self) -> int:
        """Run every batch size once, forward and back; return how many windows may run together."""
        m = self.manifest
        rng = np.random.default_rng(0)
        x = joint(self._on_device(rng.standard_normal((MICRO_BATCH, m.window), np.float32)))
        c = self._on_device(rng.standard_normal((MICRO_BATCH, m.context_entries), np.float32))
        context = c if m.context_entries else None
        with torch.inference_mode():
            if all(batch_invariant(run, x, context) for run in (self._network, self._inverse)):
                return MICRO_BATCH
        log.warning("batches round differently on this processor: one window at a time")
        return 1


def _rms(values: Floats) -> npt.NDArray[np.float64]:
    wide = np.ascontiguousarray(values, dtype=np.float64)
    return np.asarray(np.sqrt(np.square(wide).mean(axis=1)))
