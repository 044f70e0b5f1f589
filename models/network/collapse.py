"""Algebra of the fold: the affine part of every module as one short convolution.

After its only ReLU a multi-scale module is affine and equivariant to shifts by 4 samples. In frames
of 4 samples each of its convolutions is a matrix-valued polynomial in the frame shift; their
product is a single convolution from 64 to 4 channels with 11 taps (at the published sizes). Zero
padding truncates the *intermediate* signals at the ends of the window, so the first and last 4
frames need a small correction, which is also a product of the same convolutions.

Everything is differentiable, so training can run through the fold.

Hidden channels are in the order that two `squeeze` produce; samples of a frame are in time order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from innpar.models.network.innpar import Block, InnPar, MultiScale


class Collapsed(NamedTuple):
    """Collapsed network: the modules F, G, H of each block, stacked as m = 3·blocks.

    C = 4·features is the number of hidden channels.

    Attributes:
        mixing: (blocks, 2, 2).
        entry: (m, columns, C); from `columns` consecutive samples, the first `margin` of which
            precede the frame, to its hidden channels.
        entry_bias: (m, C).
        kernel: (m, C, taps·4); tap k of a frame contributes to the frame ``reach - k`` later.
        bias: (m, 4).
        left: (m, edge·C, edge·4), correction of the first `edge` frames.
        left_bias: (m, edge·4).
        right: (m, edge·C, edge·4), correction of the last `edge` frames.
        right_bias: (m, edge·4).
    """

    mixing: Tensor
    entry: Tensor
    entry_bias: Tensor
    kernel: Tensor
    bias: Tensor
    left: Tensor
    left_bias: Tensor
    right: Tensor
    right_bias: Tensor


class Reach(NamedTuple):
    """Sizes of a fold: `margin` and `columns` in samples, `taps` and `edge` in frames."""

    margin: int
    columns: int
    taps: int
    edge: int


def reach(kernel: int) -> Reach:
    """Return the sizes of the fold of convolutions with `kernel` taps."""
    margin = kernel // 2
    half = (margin + 1) // 2
    frames = margin + 2 * half + (half + 1) // 2
    columns = 4 + 2 * margin
    return Reach(margin, columns + -columns % 4, 2 * frames + 1, max(frames - 1, 0))


def _polyphase(weight: Tensor) -> Tensor:
    """Rewrite kernels (m, out, in, taps) for once-squeezed signals: (m, 2·out, 2·in, …)."""
    m, outputs, inputs, taps = weight.shape
    half = taps // 2
    wide = (half + 1) // 2
    # y[2n+p] takes x[2(n+δ)+q] through tap 2δ+q-p+half, with δ from -wide to wide
    span = 2 * (2 * wide + 1)
    phases = []
    for p in (0, 1):
        before = 2 * wide + p - half
        shifted = F.pad(weight, [before, span - taps - before])
        phases.append(shifted.reshape(m, outputs, inputs, 2 * wide + 1, 2).transpose(3, 4))
    both = torch.stack(phases, dim=2)  # (m, out, p, in, q, taps')
    return both.reshape(m, 2 * outputs, 2 * inputs, 2 * wide + 1)


def _compose(a: Tensor, b: Tensor) -> Tensor:
    """Compose kernels, b first: (m, o, i, s) and (m, i, j, t) → (m, o, j, s + t - 1)."""
    m, o, i, s = a.shape
    j, t = b.shape[2:]
    product = torch.bmm(a.transpose(2, 3).reshape(m, o * s, i), b.reshape(m, i, j * t))
    rows = product.view(m, o, s, j, t).transpose(2, 3)
    # One row per tap of a, each shifted by one: padding by s and reshaping aligns the sums.
    skewed = F.pad(rows, [0, s]).reshape(m, o, j, s * (s + t))[..., : s * (s + t - 1)]
    return skewed.reshape(m, o, j, s, s + t - 1).sum(3)


class _Stage(NamedTuple):
    weight: Tensor  # (m, out, in, taps) in frames
    bias: Tensor  # (m, out)


def _stages(modules: list[MultiScale]) -> list[_Stage]:
    """Return the four convolutions after the ReLU, last first, all at frame rate."""

    def stacked(name: str, squeezes: int) -> _Stage:
        convolutions = [getattr(module, name) for module in modules]
        weight = torch.stack([c.weight for c in convolutions])
        bias = torch.stack([c.bias for c in convolutions])
        for _ in range(squeezes):
            weight = _polyphase(weight)
        return _Stage(weight, bias.repeat_interleave(2**squeezes, dim=1))

    final = stacked("exit", 2)
    m, _, inputs, taps = final.weight.shape
    in_time = final.weight.view(m, 2, 2, inputs, taps).transpose(1, 2).reshape(m, 4, inputs, taps)
    return [
        _Stage(in_time, final.bias),
        stacked("half_out", 1),
        stacked("quarter", 0),
        stacked("half_in", 1),
    ]


def _interior(stages: list[_Stage]) -> tuple[Tensor, Tensor]:
    """Return the kernel (m, 4, C, taps) and bias (m, 4) away from the ends."""
    kernel, bias = stages[0]
    for stage in stages[1:]:
        bias = bias + torch.bmm(kernel.sum(3), stage.bias.unsqueeze(2)).squeeze(2)
        kernel = _compose(kernel, stage.weight)
    return kernel, bias


def _edge(
    stages: list[_Stage], interior: tuple[Tensor, Tensor], edge: int
) -> tuple[Tensor, Tensor]:
    """Return the correction of the first `edge` frames: (m, edge·C, edge·4), (m, edge·4)."""
    kernel, bias = interior
    m, outputs, channels, taps = kernel.shape
    rows = edge * outputs
    if not edge:
        return kernel.new_zeros(m, 0, 0), kernel.new_zeros(m, 0)
    state = torch.eye(rows, dtype=kernel.dtype, device=kernel.device)
    # rows are (frame, phase); the "taps" are input frames, negative ones cut off at every stage
    state = state.view(1, rows, edge, outputs).transpose(2, 3).expand(m, -1, -1, -1)
    total = torch.zeros(m, rows, dtype=kernel.dtype, device=kernel.device)
    for stage in stages:
        total = total + torch.bmm(state.sum(3), stage.bias.unsqueeze(2)).squeeze(2)
        state = _compose(state, stage.weight)[..., stage.weight.shape[3] // 2 :]
    centre = taps // 2
    toeplitz = torch.stack(
        [kernel[..., centre - n : centre - n + edge] for n in range(edge)], dim=1
    )
    excess = state[..., :edge] - toeplitz.reshape(m, rows, channels, edge)
    matrix = excess.permute(0, 3, 2, 1).reshape(m, edge * channels, rows)
    return matrix, total - bias.repeat(1, edge)


def _reversed_frames(stages: list[_Stage]) -> list[_Stage]:
    return [_Stage(stage.weight.flip(3), stage.bias) for stage in stages]


def _right_edge(
    stages: list[_Stage], interior: tuple[Tensor, Tensor], edge: int
) -> tuple[Tensor, Tensor]:
    """Return the correction of the last `edge` frames: the left one of the time-reversed frames."""
    kernel, bias = interior
    matrix, excess = _edge(_reversed_frames(stages), (kernel.flip(3), bias), edge)
    if not edge:
        return matrix, excess
    m, rows, columns = matrix.shape
    turned = matrix.view(m, edge, -1, edge, 4).flip(1, 3).reshape(m, rows, columns)
    return turned, excess.view(m, edge, 4).flip(1).reshape(m, columns)


def _entries(modules: list[MultiScale], sizes: Reach) -> tuple[Tensor, Tensor]:
    weight = torch.stack([module.entry.weight for module in modules])  # (m, features, 1, kernel)
    biases: list[Tensor] = [_bias(module.entry) for module in modules]
    twice = _polyphase(_polyphase(weight))  # (m, C, 4, frames), inputs in squeezed order
    m, channels, _, frames = twice.shape
    samples = twice.view(m, channels, 2, 2, frames).permute(0, 4, 3, 2, 1).reshape(m, -1, channels)
    start = 4 * (frames // 2) - sizes.margin
    columns = samples[:, start : start + sizes.columns]
    columns = F.pad(columns, [0, 0, 0, sizes.columns - columns.shape[1]])
    return columns, torch.stack(biases).repeat_interleave(4, dim=1)


def _bias(convolution: nn.Conv1d) -> Tensor:
    if convolution.bias is None:
        raise TypeError("the network's convolutions have a bias")
    return convolution.bias


def coupling_blocks(model: InnPar) -> list[Block]:
    """Return the network's blocks, typed."""
    return [block for block in model.blocks if isinstance(block, Block)]


def modules_of(model: InnPar) -> list[MultiScale]:
    """Return F, G, H of every block, in order."""
    return [m for block in coupling_blocks(model) for m in (block.f, block.g, block.h)]


def collapse(model: InnPar, *, edge: int | None = None) -> Collapsed:
    """Collapse a network's modules, differentiably and in the network's precision.

    Args:
        model: The network.
        edge: Frames to correct at either end; None for as many as needed, more do no harm. With 0
            up to 60 samples at either end of the output are inexact.
    """
    modules = modules_of(model)
    sizes = reach(model.kernel)
    stages = _stages(modules)
    kernel, bias = interior = _interior(stages)
    m, _, channels, taps = kernel.shape
    edge = sizes.edge if edge is None else edge
    left, left_bias = _edge(stages, interior, edge)
    right, right_bias = _right_edge(stages, interior, edge)
    entry, entry_bias = _entries(modules, sizes)
    # tap k reads frame n + k - reach: a frame contributes through it to the frame reach - k later
    by_tap = kernel.permute(0, 2, 3, 1).reshape(m, channels, taps * 4)
    mixing = torch.stack([block.mixing.weight() for block in coupling_blocks(model)])
    return Collapsed(mixing, entry, entry_bias, by_tap, bias, left, left_bias, right, right_bias)
