"""The folded network as a function of arrays: the compiled kernel, and its twin in numpy.

`kernel.cpp` is built with the package where there is a compiler; without it numpy does the same,
some six times slower. Both give a window the same bits at any place in any batch.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from innpar.models.network.folding import COLUMNS, PHASES, Floats, FoldedWeights

SETS = ("avx512", "avx2", "plain", "neon")
"""Instruction sets that the kernel may be asked for."""


class Network(Protocol):
    """The folded network, both ways."""

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        """Map (batch, 2, length) PPG and gradient to ABP and gradient, network units."""
        ...

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        """Undo `forward` under the same context."""
        ...


class _Net(ctypes.Structure):
    _arrays = (
        *("mixing", "unmixing", "entry", "entry_bias", "kernel", "bias"),
        *("left", "left_bias", "right", "right_bias"),
    )
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("blocks", "channels", "margin", "taps", "edge")),
        ("clamp", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _arrays),
    )


class NativeNetwork:
    """The compiled kernel.

    Args:
        weights: Of the folded network.
        instructions: One of `SETS` that this processor has; None for its best.

    Raises:
        OSError: The kernel was not built with this installation.
    """

    def __init__(self, weights: FoldedWeights, instructions: str | None = None) -> None:
        self.weights = weights
        self._library = _library()
        self.instructions = instructions or best_instructions()
        self._net = _Net(
            *(weights.blocks, weights.channels, weights.margin, weights.taps, weights.edge),
            weights.clamp,
            *(getattr(weights, name).ctypes.data for name in _Net._arrays),
        )

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(x, context, back=False)

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return self._run(y, context, back=True)

    def _run(self, x: npt.ArrayLike, context: npt.ArrayLike | None, *, back: bool) -> Floats:
        values, shift = checked(self.weights, x, context)
        out = np.empty_like(values)
        failed = self._library.innpar_kernel(
            self.instructions.encode(),
            ctypes.byref(self._net),
            int(back),
            len(values),
            values.shape[2] // PHASES,
            values.ctypes.data,
            None if shift is None else shift.ctypes.data,
            out.ctypes.data,
        )
        if failed:
            raise MemoryError("no memory for a window of the network")
        return out


class NumpyNetwork:
    """The same network by numpy's matrix products, window by window."""

    def __init__(self, weights: FoldedWeights) -> None:
        self.weights = weights

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        w = self.weights
        values, shift = checked(w, x, context)
        out = np.empty_like(values)
        for i, (a, b) in enumerate(values):
            own = None if shift is None else shift[i].reshape(-1, w.channels)
            for k, ((w00, w01), (w10, w11)) in enumerate(w.mixing):
                y1, x2 = a * w00 + b * w01, a * w10 + b * w11
                a = y1 + self._module(3 * k, x2, own)
                scale = np.exp(np.tanh(self._module(3 * k + 2, a, own)) * np.float32(w.clamp))
                b = x2 * scale + self._module(3 * k + 1, a, own)
            out[i] = a, b
        return out

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        w = self.weights
        values, shift = checked(w, y, context)
        out = np.empty_like(values)
        for i, (a, b) in enumerate(values):
            own = None if shift is None else shift[i].reshape(-1, w.channels)
            for k in reversed(range(w.blocks)):
                (v00, v01), (v10, v11) = w.unmixing[k]
                scale = np.exp(np.tanh(self._module(3 * k + 2, a, own)) * np.float32(-w.clamp))
                x2 = (b - self._module(3 * k + 1, a, own)) * scale
                x1 = a - self._module(3 * k, x2, own)
                a, b = x1 * v00 + x2 * v01, x1 * v10 + x2 * v11
            out[i] = a, b
        return out

    def _module(self, m: int, x: Floats, shift: Floats | None) -> Floats:
        """Run one module on (length,) samples."""
        w = self.weights
        bias = w.entry_bias[m] if shift is None else w.entry_bias[m] + shift[m]
        padded = np.pad(x, (w.margin, COLUMNS))
        frames = np.lib.stride_tricks.sliding_window_view(padded, COLUMNS)[: len(x) : PHASES]
        hidden = np.maximum(frames @ w.entry[m].T + bias, 0)  # (frames, C)
        each = hidden @ w.kernel[m].reshape(w.channels, -1)  # (frames, taps · 4)
        half = w.taps // 2
        out = np.zeros((len(hidden) + 2 * half, PHASES), np.float32)
        for tap in range(w.taps):  # what frame n gives the frame `half - tap` later
            at = 2 * half - tap
            out[at : at + len(hidden)] += each[:, tap * PHASES : (tap + 1) * PHASES]
        out = out[half : half + len(hidden)] + w.bias[m]
        if w.edge:
            first = hidden[: w.edge].reshape(-1) @ w.left[m] + w.left_bias[m]
            last = hidden[-w.edge :].reshape(-1) @ w.right[m] + w.right_bias[m]
            out[: w.edge] += first.reshape(w.edge, PHASES)
            out[-w.edge :] += last.reshape(w.edge, PHASES)
        samples: Floats = out.reshape(-1)
        return samples


def with_gradient(signal: Floats) -> Floats:
    """Stack windows and their gradients as `joint` does: (batch, length) → (batch, 2, length)."""
    out = np.empty((len(signal), 2, signal.shape[1]), np.float32)
    out[:, 0] = signal
    out[:, 1, 1:-1] = signal[:, 2:] - signal[:, :-2]
    out[:, 1, 0], out[:, 1, -1] = signal[:, 1], -signal[:, -2]
    return out


def checked(
    weights: FoldedWeights, x: npt.ArrayLike, context: npt.ArrayLike | None
) -> tuple[Floats, Floats | None]:
    """Return the windows (batch, 2, length) and what the context adds to the biases.

    Raises:
        ValueError: A shape does not fit.
    """
    values = np.ascontiguousarray(x, dtype=np.float32)
    length = values.shape[2] if values.ndim == 3 else 0
    if values.ndim != 3 or values.shape[1] != 2 or length % PHASES or length < weights.shortest:
        raise ValueError(
            f"expected (batch, 2, length) with a length that is a multiple of {PHASES} and at "
            f"least {weights.shortest}, not {values.shape}"
        )
    encoder = weights.encoder
    if encoder is None:
        if context is not None:
            raise ValueError("this network takes no context; leave it out")
        return values, None
    entries = len(encoder.into)
    given = np.zeros((len(values), entries)) if context is None else context
    rows = np.ascontiguousarray(given, dtype=np.float32)
    if rows.shape != (len(values), entries):
        raise ValueError(f"expected a context of ({len(values)}, {entries}), not {rows.shape}")
    return values, encoder(rows)


def best_instructions() -> str:
    """Return the best of `SETS` that this processor has.

    Raises:
        OSError: The kernel was not built with this installation.
    """
    name: bytes = _library().innpar_kernel_set()
    return name.decode()


@functools.cache
def _library() -> ctypes.CDLL:
    folder = Path(__file__).parent
    found = [folder / f"_kernel{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        raise OSError("the compiled kernel is not part of this installation: no compiler was found")
    library = ctypes.CDLL(str(path))
    library.innpar_kernel_set.restype = ctypes.c_char_p
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.innpar_kernel.argtypes = [
        *(ctypes.c_char_p, pointer, ctypes.c_int, size, size),
        *(pointer, pointer, pointer),
    ]
    return library
