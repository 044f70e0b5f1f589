"""Training through the fold: forward and backward pass on kernels collapsed at every step.

Eleven times fewer multiplications than the convolutions. Gradients pass through `collapse` to the
original parameters, so it is the published network that is trained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from innpar.models.network.collapse import collapse, modules_of, reach
from innpar.models.network.innpar import InnPar

MICRO_BATCH = 16
"""Windows whose hidden frames are in memory at a time: few enough for a core's cache."""

GPU_BATCH = 1024
"""The same on a GPU, which has more memory and prefers few large steps."""


class _Sizes(NamedTuple):
    margin: int
    edge: int
    frames: int


class _Modules(torch.autograd.Function):
    """Modules with a common input: (B, L) samples → (modules, B, N, 4), without output bias.

    The hidden frames are many times larger than all other tensors, so the backward pass computes
    them again instead of storing them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        entry: Tensor,  # (columns, modules·C)
        bias: Tensor,  # (B or 1, modules·C)
        kernel: Tensor,  # (modules, C, taps·4)
        left: Tensor,  # (modules, edge·C, edge·4)
        right: Tensor,
        sizes: _Sizes,
    ) -> Tensor:
        ctx.save_for_backward(x, entry, bias, kernel, left, right)
        ctx.sizes = sizes
        modules, channels, _ = kernel.shape
        out = x.new_empty(modules, x.shape[0], sizes.frames, 4)
        for rows in _batches(x):
            hidden, _ = _hidden(x[rows], entry, _own(bias, rows), sizes)
            for i in range(modules):
                own = hidden[:, i * channels : (i + 1) * channels]
                y = _overlap_add(torch.mm(own, kernel[i]), sizes.frames)
                if edge := sizes.edge:
                    each = own.view(y.shape[0], sizes.frames, channels)
                    y[:, :edge] += (each[:, :edge].flatten(1) @ left[i]).view(-1, edge, 4)
                    y[:, -edge:] += (each[:, -edge:].flatten(1) @ right[i]).view(-1, edge, 4)
                out[i, rows] = y
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, entry, bias, kernel, left, right = ctx.saved_tensors
        sizes: _Sizes = ctx.sizes
        total = [torch.zeros_like(t) for t in (x, entry, bias, kernel, left, right)]
        dx, d_entry, d_bias, d_kernel, d_left, d_right = total
        modules, channels, width = kernel.shape
        turned = kernel.view(modules, channels, -1, 4).flip(2).reshape(kernel.shape)
        for rows in _batches(x):
            hidden, frames = _hidden(x[rows], entry, _own(bias, rows), sizes)
            slope = torch.empty_like(hidden)
            for i in range(modules):
                dy = upstream[0][i, rows]
                seen = _around(dy, width)
                columns = slice(i * channels, (i + 1) * channels)
                own, d_own = hidden[:, columns], slope[:, columns]
                torch.mm(seen, turned[i].t(), out=d_own)
                d_kernel[i].addmm_(own.t(), seen)
                if edge := sizes.edge:
                    _edge_back(own, d_own, dy[:, :edge], left[i], d_left[i], slice(0, edge))
                    last = slice(sizes.frames - edge, sizes.frames)
                    _edge_back(own, d_own, dy[:, last], right[i], d_right[i], last)
            torch.ops.aten.threshold_backward.grad_input(slope, hidden, 0, grad_input=slope)
            d_entry.addmm_(frames.t(), slope)
            _own(d_bias, rows).add_(_per_bias(slope, bias, sizes.frames))
            dx[rows] = _spread(torch.mm(slope, entry.t()), sizes)
        d_kernel = d_kernel.view(modules, channels, -1, 4).flip(2).reshape(kernel.shape)
        return dx, d_entry, d_bias, d_kernel, d_left, d_right, None


def _batches(x: Tensor) -> list[slice]:
    step = GPU_BATCH if x.is_cuda else MICRO_BATCH
    return [slice(i, i + step) for i in range(0, x.shape[0], step)]


def _own(bias: Tensor, rows: slice) -> Tensor:
    return bias if bias.shape[0] == 1 else bias[rows]


def _hidden(x: Tensor, entry: Tensor, bias: Tensor, sizes: _Sizes) -> tuple[Tensor, Tensor]:
    """Return hidden frames after the ReLU, (B·N, modules·C), and their input, (B·N, columns)."""
    columns = entry.shape[0]
    padded = F.pad(x, [sizes.margin, columns - 4 - sizes.margin])
    frames = padded.unfold(1, columns, 4).reshape(-1, columns)
    if bias.shape[0] == 1:
        return torch.addmm(bias[0], frames, entry).relu_(), frames
    hidden = torch.mm(frames, entry)
    hidden.view(x.shape[0], sizes.frames, -1).add_(bias.unsqueeze(1))
    return hidden.relu_(), frames


def _overlap_add(each: Tensor, frames: int) -> Tensor:
    """Add each frame's contributions to the frames around it: (B·N, taps·4) → (B, N, 4)."""
    width = each.shape[1]
    half = width // 8
    padded = F.pad(each.view(-1, frames, width), [0, 0, half, half])
    size = (padded.shape[0], frames, width // 4, 4)
    # the next row with the next tap contributes to the same output frame
    return padded.as_strided(size, (padded.stride(0), width, width + 4, 1)).sum(2)


def _around(dy: Tensor, width: int) -> Tensor:
    """Gather the outputs of each frame, last tap first: (B, N, 4) → (B·N, taps·4)."""
    half = width // 8
    padded = F.pad(dy, [0, 0, half, half])
    size = (dy.shape[0], dy.shape[1], width)
    return padded.as_strided(size, (padded.stride(0), 4, 1)).reshape(-1, width)


def _edge_back(
    own: Tensor, d_own: Tensor, dy: Tensor, matrix: Tensor, d_matrix: Tensor, frames: slice
) -> None:
    batch = dy.shape[0]
    flat = dy.reshape(batch, -1)
    shape = (batch, own.shape[0] // batch, own.shape[1])
    d_matrix.addmm_(own.view(shape)[:, frames].flatten(1).t(), flat)
    d_own.view(shape)[:, frames] += (flat @ matrix.t()).view(batch, -1, own.shape[1])


def _per_bias(slope: Tensor, bias: Tensor, frames: int) -> Tensor:
    if bias.shape[0] == 1:
        return slope.sum(0, keepdim=True)
    return slope.view(-1, frames, slope.shape[1]).sum(1)


def _spread(d_frames: Tensor, sizes: _Sizes) -> Tensor:
    """Add overlapping frames back to samples: (B·N, columns) → (B, L)."""
    blocks = d_frames.shape[1] // 4
    each = d_frames.view(-1, sizes.frames, blocks, 4)
    padded = each.new_zeros(each.shape[0], sizes.frames + blocks - 1, 4)
    for lag in range(blocks):
        padded[:, lag : lag + sizes.frames] += each[:, :, lag]
    return padded.flatten(1)[:, sizes.margin : sizes.margin + 4 * sizes.frames]


class Collapse:
    """A network's kernels, collapsed for one training step; forward and inverse, differentiable.

    Args:
        model: The network; gradients reach its parameters.
        edges: False saves a third of the time and is exact except for the 60 samples at either end
            (2e-4 of the output's SD from there on); exclude those from the loss.
    """

    def __init__(self, model: InnPar, *, edges: bool = True) -> None:
        self.model = model
        self.parts = collapse(model, edge=None if edges else 0)
        self._margin = reach(model.kernel).margin

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute ``model(x, context)``: (batch, 2, length), network units."""
        bias = self._biases(x, context)
        first, second = x.unbind(1)
        for i, w in enumerate(self.parts.mixing):
            mixed = w[0, 0] * first + w[0, 1] * second
            second = w[1, 0] * first + w[1, 1] * second
            first = mixed + self._f(i, second, bias)
            g, log_scale = self._gh(i, first, bias)
            second = second * torch.exp(log_scale) + g
        return torch.stack([first, second], dim=1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute ``model.inverse(y, context)``."""
        bias = self._biases(y, context)
        first, second = y.unbind(1)
        for i in reversed(range(len(self.parts.mixing))):
            g, log_scale = self._gh(i, first, bias)
            second = (second - g) * torch.exp(-log_scale)
            first = first - self._f(i, second, bias)
            w = torch.linalg.inv(self.parts.mixing[i])
            mixed = w[0, 0] * first + w[0, 1] * second
            second = w[1, 0] * first + w[1, 1] * second
            first = mixed
        return torch.stack([first, second], dim=1)

    def _biases(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the entry biases, the context's shift included: (1 or batch, 3·blocks, C)."""
        bias = self.parts.entry_bias.unsqueeze(0)
        embedding = self.model.embed(x, context)
        return bias if embedding is None else bias + shifts(self.model, embedding)

    def _f(self, block: int, x: Tensor, bias: Tensor) -> Tensor:
        (f,) = self._run(x, slice(3 * block, 3 * block + 1), bias)
        return f

    def _gh(self, block: int, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        g, h = self._run(x, slice(3 * block + 1, 3 * block + 3), bias)
        return g, self.model.clamp * torch.tanh(0.5 * h)

    def _run(self, x: Tensor, which: slice, bias: Tensor) -> list[Tensor]:
        """Run the modules `which` on their common input (B, L); return (B, L) each."""
        parts, (batch, length) = self.parts, x.shape
        sizes = _Sizes(self._margin, parts.left_bias.shape[1] // 4, length // 4)
        count, columns, channels = parts.entry[which].shape
        y: Tensor = _Modules.apply(  # type: ignore[no-untyped-call]  # torch has no types here
            x,
            parts.entry[which].transpose(0, 1).reshape(columns, count * channels),
            bias[:, which].flatten(1),
            parts.kernel[which],
            parts.left[which],
            parts.right[which],
            sizes,
        )
        constant = parts.bias[which].repeat(1, sizes.frames)  # (modules, L)
        if sizes.edge:
            rest = length - 4 * sizes.edge
            constant = constant + F.pad(parts.left_bias[which], [0, rest])
            constant = constant + F.pad(parts.right_bias[which], [rest, 0])
        return list((y.view(count, batch, length) + constant.unsqueeze(1)).unbind(0))


def shifts(model: InnPar, embedding: Tensor) -> Tensor:
    """Return every module's bias shift by the context: (batch, 32) → (batch, 3·blocks, C)."""
    weights = [m.shift.weight for m in modules_of(model) if m.shift is not None]
    return torch.einsum("be,mfe->bmf", embedding, torch.stack(weights)).repeat_interleave(4, dim=2)


def folded_forward(
    model: InnPar, x: Tensor, context: Tensor | None = None, *, edges: bool = True
) -> Tensor:
    """Compute ``model(x, context)`` through the fold, differentiably; see `Collapse`."""
    return Collapse(model, edges=edges).forward(x, context)
