"""The folded network's weights from the trained ones, in numpy alone.

The algebra is that of `collapse`, which is differentiable and serves training; here it runs once,
in float64, when a model is loaded. After its one ReLU a module is affine and commutes with shifts
by a frame of 4 samples, so its four convolutions compose into one from the hidden channels to the
frame's samples, with a correction of the first and last frames, where zero padding cuts off what
the intermediate signals would have beyond the window.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

PHASES = 4
"""Samples in a frame."""
COLUMNS = 8
"""Consecutive samples that a frame's hidden channels see."""


@dataclass(frozen=True, slots=True, eq=False)
class ContextEncoder:
    """The context's way to every module's bias.

    Attributes:
        into: (context, embedding) float32; with `into_bias` in front of a GELU.
        out: (embedding, embedding); with `out_bias` behind it.
        shift: (embedding, m · C), to every hidden channel of every module.
    """

    into: Floats
    into_bias: Floats
    out: Floats
    out_bias: Floats
    shift: Floats

    def __call__(self, context: Floats) -> Floats:
        """Map (batch, context) to (batch, m · C), row by row: the same bits in any batch."""
        rows = [_known_row(self, row.tobytes()) for row in np.asarray(context, np.float32)]
        return np.stack(rows) if rows else np.empty((0, self.shift.shape[1]), np.float32)

    def row(self, row: Floats) -> Floats:
        """Map one context, (context,) to (m · C,)."""
        h = row @ self.into + self.into_bias
        erf = np.array([math.erf(v) for v in (h / math.sqrt(2.0)).tolist()])
        gelu = (0.5 * h * (1.0 + erf)).astype(np.float32)
        return np.asarray((gelu @ self.out + self.out_bias) @ self.shift, np.float32)


@functools.lru_cache(256)
def _known_row(encoder: ContextEncoder, context: bytes) -> Floats:
    """Return `ContextEncoder.row`: the same context comes for both ways, and zeros all the time."""
    return encoder.row(np.frombuffer(context, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class FoldedWeights:
    """Weights of the folded network, float32, C-contiguous; m = 3 · blocks modules F, G, H.

    Attributes:
        clamp: Bound of a coupling's log scale.
        margin: Of `COLUMNS` samples, those before the frame.
        taps: Of the one convolution, in frames, odd.
        edge: Frames at either end that are corrected.
        mixing: (blocks, 2, 2), and its inverse `unmixing`.
        entry: (m, C, COLUMNS) samples to hidden channels, with `entry_bias` (m, C).
        kernel: (m, C, taps, 4) hidden channels to samples, with `bias` (m, 4).
        left: (m, edge · C, edge · 4) what the first frames add to themselves, with `left_bias`
            (m, edge · 4); `right` likewise for the last frames.
        encoder: None for a network without context.
    """

    clamp: float
    margin: int
    taps: int
    edge: int
    mixing: Floats
    unmixing: Floats
    entry: Floats
    entry_bias: Floats
    kernel: Floats
    bias: Floats
    left: Floats
    left_bias: Floats
    right: Floats
    right_bias: Floats
    encoder: ContextEncoder | None

    @property
    def blocks(self) -> int:
        return len(self.mixing)

    @property
    def channels(self) -> int:
        return int(self.entry.shape[1])

    @property
    def shortest(self) -> int:
        """Samples in the shortest window: both corrected ends."""
        return 2 * PHASES * max(self.edge, 1)


def fold_weights(state: Mapping[str, npt.NDArray[np.floating]], clamp: float) -> FoldedWeights:
    """Fold a network.

    Args:
        state: Parameters by name, as `InnPar` calls them.
        clamp: Bound of the log scale in each coupling.

    Raises:
        ValueError: A kernel of more than 5 taps, which no frame's 8 samples cover.
    """
    wide = {name: np.asarray(value, np.float64) for name, value in state.items()}
    blocks = 1 + max(int(name.split(".")[1]) for name in wide if name.startswith("blocks."))
    parts = [
        _module(wide, f"blocks.{k}.{name}", 0.5 if name == "h" else 1.0)
        for k in range(blocks)
        for name in "fgh"
    ]
    mixing = np.stack([_mixing(wide, f"blocks.{k}.mixing") for k in range(blocks)])
    sizes = parts[0]
    stacked = {name: _single(np.stack([getattr(part, name) for part in parts])) for name in _ARRAYS}
    return FoldedWeights(
        clamp=clamp,
        margin=sizes.margin,
        taps=sizes.kernel.shape[1],
        edge=sizes.left_bias.size // PHASES,
        mixing=_single(mixing),
        unmixing=_single(np.linalg.inv(mixing)),
        encoder=_encoder(wide, blocks) if "encoder.0.weight" in wide else None,
        **stacked,
    )


_ARRAYS = ("entry", "entry_bias", "kernel", "bias", "left", "left_bias", "right", "right_bias")


@dataclass(frozen=True, slots=True, eq=False)
class _Module:
    margin: int
    entry: Array
    entry_bias: Array
    kernel: Array
    bias: Array
    left: Array
    left_bias: Array
    right: Array
    right_bias: Array


def _single(values: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def _mixing(state: Mapping[str, Array], name: str) -> Array:
    """Return W = P·L·(U + diag(sign · exp(log_s)))."""
    scale = np.diag(state[f"{name}.sign_s"] * np.exp(state[f"{name}.log_s"]))
    lower = np.tril(state[f"{name}.lower"], -1) + np.eye(2)
    whole: Array = state[f"{name}.p"] @ lower @ (np.triu(state[f"{name}.upper"], 1) + scale)
    return whole


def _encoder(state: Mapping[str, Array], blocks: int) -> ContextEncoder:
    shifts = [state[f"blocks.{k}.{name}.shift.weight"] for k in range(blocks) for name in "fgh"]
    return ContextEncoder(
        into=_single(state["encoder.0.weight"].T),
        into_bias=_single(state["encoder.0.bias"]),
        out=_single(state["encoder.2.weight"].T),
        out_bias=_single(state["encoder.2.bias"]),
        shift=_single(np.concatenate(shifts).repeat(PHASES, axis=0).T),
    )


def _module(state: Mapping[str, Array], name: str, scale: float) -> _Module:
    """Fold one module; `scale` multiplies its output (0.8·(2σ(v) - 1) is 0.8·tanh(v/2))."""
    first = state[f"{name}.entry.weight"]
    taps = first.shape[2]
    margin = taps // 2
    if PHASES + 2 * margin > COLUMNS:
        raise ValueError(f"a kernel of {taps} taps reaches too far to be folded; 5 at most")
    entry = _polyphase(_polyphase(first))  # (C, 4, frames), inputs ordered as squeezed
    channels, _, frames = entry.shape
    samples = entry.reshape(channels, 2, 2, frames).transpose(0, 3, 2, 1).reshape(channels, -1)
    start = PHASES * (frames // 2) - margin
    columns = np.zeros((channels, COLUMNS))
    kept = samples[:, start : start + COLUMNS]
    columns[:, : kept.shape[1]] = kept
    columns[:, PHASES + 2 * margin :] = 0

    stages = _stages(state, name)
    kernel, bias = stages[0]
    for weight, add in stages[1:]:
        bias = bias + kernel.sum(2) @ add
        kernel = _compose(kernel, weight)
    edge = max(kernel.shape[2] // 2 - 1, 0)
    left, left_bias = _edge(stages, kernel, bias, edge)
    mirrored = [(weight[:, :, ::-1], add) for weight, add in stages]
    right, right_bias = _edge(mirrored, kernel[:, :, ::-1], bias, edge)
    right = right.reshape(edge, channels, edge, PHASES)[::-1, :, ::-1]
    right_bias = right_bias.reshape(edge, PHASES)[::-1]
    return _Module(
        margin=margin,
        entry=columns,
        entry_bias=state[f"{name}.entry.bias"].repeat(PHASES),
        kernel=scale * kernel.transpose(1, 2, 0),
        bias=scale * bias,
        left=scale * left.reshape(edge * channels, edge * PHASES),
        left_bias=scale * left_bias,
        right=scale * right.reshape(edge * channels, edge * PHASES),
        right_bias=scale * right_bias.reshape(-1),
    )


def _stages(state: Mapping[str, Array], name: str) -> list[tuple[Array, Array]]:
    """Return the convolutions after the ReLU, last first, at frame rate: (out, in, taps), bias."""
    stages = []
    for layer, squeezes in (("exit", 2), ("half_out", 1), ("quarter", 0), ("half_in", 1)):
        weight, bias = state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"]
        for _ in range(squeezes):
            weight = _polyphase(weight)
        stages.append((weight, bias.repeat(2**squeezes)))
    last, bias = stages[0]  # its four outputs in the order of time
    in_time = last.reshape(2, 2, *last.shape[1:]).swapaxes(0, 1).reshape(last.shape)
    return [(in_time, bias), *stages[1:]]


def _polyphase(weight: Array) -> Array:
    """Rewrite a kernel (out, in, taps) for signals squeezed once more: (2·out, 2·in, …)."""
    outputs, inputs, taps = weight.shape
    half = taps // 2
    wide = (half + 1) // 2
    phases = np.zeros((outputs, 2, inputs, 2, 2 * wide + 1))
    for p in (0, 1):
        for q in (0, 1):
            for delta in range(-wide, wide + 1):
                tap = 2 * delta + q - p + half
                if 0 <= tap < taps:
                    phases[:, p, :, q, delta + wide] = weight[:, :, tap]
    return phases.reshape(2 * outputs, 2 * inputs, -1)


def _compose(a: Array, b: Array) -> Array:
    """Apply b, then a: (o, i, s) and (i, j, t) → (o, j, s + t - 1)."""
    out = np.zeros((a.shape[0], b.shape[1], a.shape[2] + b.shape[2] - 1))
    for k in range(a.shape[2]):
        out[:, :, k : k + b.shape[2]] += np.tensordot(a[:, :, k], b, 1)
    return out


def _edge(
    stages: list[tuple[Array, Array]], kernel: Array, bias: Array, edge: int
) -> tuple[Array, Array]:
    """Return what the first frames need beside the interior's kernel: (edge·C, edge·4), bias."""
    outputs, channels, taps = kernel.shape
    rows = edge * outputs
    # rows are (frame, phase); as taps go the frames seen, those before the window cut off each time
    state = np.eye(rows).reshape(rows, edge, outputs).transpose(0, 2, 1)
    total = np.zeros(rows)
    for weight, add in stages:
        total = total + state.sum(2) @ add
        state = _compose(state, weight)[:, :, weight.shape[2] // 2 :]
    centre = taps // 2
    inner = [kernel[:, :, centre - n : centre - n + edge] for n in range(edge)]
    excess = state[:, :, :edge] - np.concatenate(inner or [np.zeros((0, channels, 0))])
    return excess.transpose(2, 1, 0).reshape(edge * channels, rows), total - np.tile(bias, edge)
