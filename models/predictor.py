"""The exported file as a function of arrays."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from innpar.models.errors import ModelError
from innpar.models.formats import torchscript as script
from innpar.models.formats.weights_file import build_network, open_model
from innpar.models.manifest import Architecture, Manifest, verified_bytes
from innpar.models.network.fold import Folded, fold
from innpar.models.network.innpar import joint

__all__ = ["Architecture", "Manifest", "Prediction", "Predictor"]

log: logging.Logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Backend = Literal["torchscript", "eager", "aot", "onnx"]
Network = Callable[[Tensor, Tensor | None], Tensor]

SHIPPED = Path(__file__).parent / "weights"
GPU_TOLERANCE = 1e-4
MICRO_BATCH = 8
"""Windows that go through the network together: more no longer fit in a core's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says of a batch of windows.

    Attributes:
        abp: (batch, window) mmHg.
        gradient: (batch, window) the network's own account of its output's gradient, mmHg per two
            samples (as `innpar.gradient` forms it).
        consistency: (batch,) RMS difference between that and the gradient of `abp`, relative to the
            latter's RMS, away from the ends. Grows on corrupted input.
        reverse: (batch,) RMS difference between the input and what the inverse makes of `abp` and
            its gradient, relative to the input's RMS, away from the ends; 0 where not asked for.
    """

    abp: Floats
    gradient: Floats
    consistency: Floats
    reverse: Floats


class Predictor:
    """A model file, ready to use; `load` makes one.

    The result for a window is the same, bit for bit, in any batch and at any place in it. That is
    checked at loading for this processor; where it does not hold, windows run one by one.

    Whoever owns the process sets its threads; one a process is best (`torch.set_num_threads(1)`).
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
        self._together = self._safe_batch()

    @classmethod
    def load(
        cls, path: Path | None = None, *, backend: Backend | None = None, compute: str = "cpu"
    ) -> Predictor:
        """Open a model.

        Args:
            path: A ``manifest.json`` or its folder; None for the model that comes with the package.
            backend: ``torchscript``, ``eager`` (the weights and the code of this package), ``aot``
                (compiled for one kind of processor), ``onnx``. None takes TorchScript where Python
                has it and the model brings it, else eager.
            compute: ``cpu``, ``cuda`` or ``cuda:N``, of the first two backends; ``auto`` takes
                CUDA where it is there and agrees with the CPU, else the CPU.

        Raises:
            ModelError: A file is missing or differs from its hash in the manifest, the manifest is
                wrong, the weights do not fit, or the backend or the GPU cannot be had.
        """
        if compute == "auto":
            return cls._load_anywhere(path, backend)
        folder, manifest = open_model(SHIPPED if path is None else path)
        if backend is None:
            has_script = manifest.file("torchscript") is not None and script.SUPPORTED
            backend = "torchscript" if has_script else "eager"
        if backend not in get_args(Backend):
            raise ModelError(f"unknown backend {backend!r}; it is one of {get_args(Backend)}")
        if compute == "cpu":
            return cls(manifest, *_BACKENDS[backend](folder, manifest, compute), backend)
        _check_gpu(compute, backend)
        try:
            return cls._on_gpu(manifest, folder, backend, compute)
        except (RuntimeError, AssertionError) as error:  # torch's own kinds
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{compute} cannot be used ({first}); use --compute cpu") from None

    @classmethod
    def _load_anywhere(cls, path: Path | None, backend: Backend | None) -> Predictor:
        if torch.cuda.is_available() and backend in (None, "torchscript", "eager"):
            try:
                return cls.load(path, backend=backend, compute="cuda")
            except ModelError as error:
                log.warning("the GPU is left alone: %s", error)
        return cls.load(path, backend=backend)

    @classmethod
    def _on_gpu(cls, manifest: Manifest, folder: Path, backend: Backend, compute: str) -> Predictor:
        """Load on a GPU and compare with the CPU, on windows of noise."""
        there = cls(manifest, *_BACKENDS[backend](folder, manifest, compute), backend, compute)
        here = cls(manifest, *_BACKENDS[backend](folder, manifest, "cpu"), backend)
        noise = np.random.default_rng(1).standard_normal((4, manifest.window))
        found, expected = there(noise).abp, here(noise).abp
        off = float(np.abs(found - expected).max() / np.abs(expected - manifest.abp_offset).max())
        if not off <= GPU_TOLERANCE:
            raise ModelError(
                f"{compute} differs from the CPU by {off:.1e} of the output's scale, more than "
                f"{GPU_TOLERANCE:.0e}; use --compute cpu"
            )
        return there

    @property
    def id(self) -> str:
        """Name, version and hash of the model."""
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
            ppg: (batch, window) conditioned PPG, pulse upward, any unit.
            context: (batch, entries) as the manifest's architecture names them; None or rows of
                zeros: not calibrated.
            reverse: Also compute the projected-reverse residual, which doubles the cost; a mask
                (batch,) names the windows to compute it of.

        Raises:
            ValueError: A shape does not fit, or a value is not finite.
        """
        x = self._scaled(np.asarray(ppg, dtype=np.float32))
        c = self._context(context, len(x))
        y = np.empty((len(x), 2, self.manifest.window), np.float32)
        for rows, told in self._portions(np.arange(len(x)), c):
            y[rows] = self._network(joint(self._there(x[rows])), told).cpu().numpy()
        asked = np.flatnonzero(np.broadcast_to(reverse, len(x)))
        back = x.copy()
        for rows, told in self._portions(asked, c):
            found = self._inverse(joint(self._there(y[rows, 0])), told)
            back[rows] = found[:, 0].cpu().numpy()
        return self._prediction(x, y, back)

    def _portions(
        self, rows: npt.NDArray[np.int64], context: Floats | None
    ) -> Iterator[tuple[npt.NDArray[np.int64], Tensor | None]]:
        """Yield as many rows as may go together, with their context, in inference mode."""
        with torch.inference_mode():
            for start in range(0, len(rows), self._together):
                some = rows[start : start + self._together]
                yield some, None if context is None else self._there(context[some])

    def _there(self, values: Floats) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _scaled(self, ppg: Floats) -> Floats:
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

    def _context(self, context: npt.ArrayLike | None, batch: int) -> Floats | None:
        entries = self.manifest.context_entries
        if context is None:
            return np.zeros((batch, entries), np.float32) if entries else None
        told = np.ascontiguousarray(context, dtype=np.float32)
        if told.shape != (batch, entries):
            raise ValueError(f"expected a context of ({batch}, {entries}), not {told.shape}")
        if not np.isfinite(told).all():
            raise ValueError("the context holds NaN or infinity")
        return told if entries else None

    def _prediction(self, x: Floats, y: Floats, back: Floats) -> Prediction:
        m = self.manifest
        scale, offset = np.float32(m.abp_scale), np.float32(m.abp_offset)
        inside = slice(m.drop, m.window - m.drop)
        implied = np.zeros_like(y[:, 0])
        implied[:, 1:-1] = y[:, 0, 2:] - y[:, 0, :-2]
        off = _rms(implied[:, inside] - y[:, 1, inside])
        consistency = off / np.maximum(_rms(implied[:, inside]), 1e-9)
        off = _rms(back[:, inside] - x[:, inside])
        residual = off / np.maximum(_rms(x[:, inside]), 1e-9)
        return Prediction(
            abp=y[:, 0] * scale + offset,
            gradient=y[:, 1] * scale,
            consistency=consistency.astype(np.float32),
            reverse=residual.astype(np.float32),
        )

    def _safe_batch(self) -> int:
        """Run every batch size once, there and back; return how many windows may go together."""
        m = self.manifest
        rng = np.random.default_rng(0)
        x = joint(self._there(rng.standard_normal((MICRO_BATCH, m.window), np.float32)))
        c = self._there(rng.standard_normal((MICRO_BATCH, m.context_entries), np.float32))
        told = c if m.context_entries else None
        with torch.inference_mode():
            if all(_alike(way, x, told) for way in (self._network, self._inverse)):
                return MICRO_BATCH
        log.warning("batches round differently on this processor: one window at a time")
        return 1


def _alike(way: Network, x: Tensor, told: Tensor | None) -> bool:
    """Return whether a window gives the same bits alone and with any number of others."""
    for _ in range(2):  # the first run of a script only records
        alone = [
            way(x[i : i + 1], None if told is None else told[i : i + 1]) for i in range(len(x))
        ]
    each = torch.cat(alone)
    return all(
        torch.equal(way(x[:size], None if told is None else told[:size]), each[:size])
        for size in range(2, len(x) + 1)
    )


def _rms(values: Floats) -> npt.NDArray[np.float64]:
    wide = np.ascontiguousarray(values, dtype=np.float64)
    return np.asarray(np.sqrt(np.square(wide).mean(axis=1)))


def _check_gpu(compute: str, backend: str) -> None:
    if re.fullmatch(r"cuda(:\d+)?", compute) is None:
        raise ModelError(f"the network runs on auto, cpu, cuda or cuda:N, not on {compute!r}")
    if backend not in ("torchscript", "eager"):
        raise ModelError(f"the {backend} file is made for the CPU; use --compute cpu")
    if not torch.cuda.is_available():
        raise ModelError(
            "there is no CUDA here: install a GPU driver and a torch built for it, or use "
            "--compute cpu"
        )


def _eager(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    folded = fold(build_network(folder, manifest)).to(device)
    return folded, folded.inverse


def _torchscript(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    if not script.SUPPORTED:
        raise ModelError("TorchScript has no support on this Python; use the eager backend")
    content = verified_bytes(folder, manifest, _named(manifest, "torchscript"))
    module = script.from_bytes(content, device)
    return module, module.inverse


def _aot(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    from innpar.models.formats.aot_file import load_compiled

    network = load_compiled(folder, manifest, _named(manifest, "aot"))
    return network, _later(folder, manifest)


def _onnx(folder: Path, manifest: Manifest, device: str) -> tuple[Network, Network]:
    from innpar.models.formats.onnx_file import load_onnx

    content = verified_bytes(folder, manifest, _named(manifest, "onnx"))
    return load_onnx(content), _later(folder, manifest)


def _named(manifest: Manifest, kind: Literal["torchscript", "aot", "onnx"]) -> str:
    if (name := manifest.file(kind)) is None:
        raise ModelError(f"{manifest.id} brings no {kind} file; export it with one")
    return name


def _later(folder: Path, manifest: Manifest) -> Network:
    """The inverse for backends that only run forward, folded when first asked for."""
    folded: list[Folded] = []

    def inverse(y: Tensor, context: Tensor | None) -> Tensor:
        if not folded:
            folded.append(fold(build_network(folder, manifest)))
        back: Tensor = folded[0].inverse(y, context)
        return back

    return inverse


_BACKENDS: dict[str, Callable[[Path, Manifest, str], tuple[Network, Network]]] = {
    "torchscript": _torchscript,
    "eager": _eager,
    "aot": _aot,
    "onnx": _onnx,
}
