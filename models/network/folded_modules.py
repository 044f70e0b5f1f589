"""Execution of folded modules: two matrix products and an overlap-add.

`collapse` yields, for frames of 4 samples, one matrix into the hidden channels and one short
convolution out of them. Frames are processed in pairs, and a convolution runs as one matrix product
followed by an overlap-add: convolutions of few channels reach a tenth of a core's peak, such
products two thirds. Products with one row per window run window by window, because the rounding of
BLAS depends on the number of rows and results must not depend on the other windows of a batch.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from innpar.models.network.collapse import Collapsed


class Modules(nn.Module):
    """Folded modules with a common input: (B, L) → (modules, B, L).

    Hidden channels are ordered [pair of frames][module][frame in pair][channel].

    Args:
        parts: The collapsed network.
        which: The modules.
        margin: Half the taps of the original convolutions, samples.
        portable: Use operations that suit compilers and other runtimes; the others are the fastest
            in TorchScript.
    """

    count: Final[int]
    channels: Final[int]
    margin: Final[int]
    reach: Final[int]
    spans: Final[int]
    edge: Final[int]
    portable: Final[bool]

    def __init__(self, parts: Collapsed, which: slice, margin: int, portable: bool) -> None:
        super().__init__()
        entry, kernel = parts.entry[which], parts.kernel[which]
        count, columns, channels = entry.shape
        taps = kernel.shape[2] // 4
        self.count, self.channels, self.margin = count, channels, margin
        self.portable = portable
        self.reach = taps // 2
        self.spans = (taps + 1) // 2
        self.edge = parts.left_bias.shape[1] // 8
        paired = entry.new_zeros(columns + 4, count, 2, channels)
        spread = kernel.new_zeros(count, 2, channels, taps + 1, 4)
        centre = kernel.new_zeros(count, taps + 1, 4)
        by_output = kernel.view(count, channels, taps, 4).flip(2)
        for i in (0, 1):
            paired[4 * i : 4 * i + columns, :, i] = entry.transpose(0, 1)
            spread[:, i, :, i : i + taps] = by_output
            centre[:, self.reach + i] = parts.bias[which]
        bias = parts.entry_bias[which].unsqueeze(1).expand(count, 2, channels)
        self.entry: nn.Parameter = weights_of(paired.reshape(1, columns + 4, -1))
        self.entry_bias: nn.Parameter = weights_of(bias.reshape(1, 1, -1))
        self.kernel: nn.Parameter = weights_of(spread.reshape(count, 2 * channels, -1))
        self.bias: nn.Parameter = weights_of(centre.reshape(count, 1, -1))
        self.left: nn.Parameter = weights_of(_both(parts.left[which], 0, 0))
        self.left_bias: nn.Parameter = weights_of(parts.left_bias[which].reshape(1, 1, -1))
        self.right_even: nn.Parameter = weights_of(_both(parts.right[which], 0, 0))
        self.right_odd: nn.Parameter = weights_of(_both(parts.right[which], 1, 1))
        self.right_bias: nn.Parameter = weights_of(parts.right_bias[which].reshape(1, 1, -1))

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        hidden = self._hidden(x, shift)  # (B, pairs, modules·2·C)
        batch, pairs, width = hidden.shape
        count = self.count
        length = x.shape[1]
        by_module = hidden.view(batch * pairs, count, width // count).transpose(0, 1)
        each = torch.baddbmm(self.bias, by_module, self.kernel)  # (modules, B·pairs, spans·8)
        y = self._overlap_add(each.view(count * batch, pairs, -1))
        y = y.view(count, batch, -1).narrow(2, 4 * self.reach, length)
        return self._with_edges(y, hidden) if self.edge > 0 else y

    def _hidden(self, x: Tensor, shift: Tensor | None) -> Tensor:
        batch, length = x.shape
        odd = length % 8 != 0
        columns = self.entry.shape[1]
        after = columns - 8 - self.margin
        padded = F.pad(x, [self.margin, after + 4 if odd else after])
        if self.portable:  # unfold would be a gather in other runtimes
            frames = _cut(padded, columns)
        else:
            frames = padded.unfold(1, columns, 8).contiguous()
        bias: Tensor = self.entry_bias
        if shift is not None:
            bias = bias + shift.unsqueeze(3).expand(-1, -1, -1, 2, -1).reshape(batch, 1, -1)
        entry = self.entry.expand(batch, -1, -1)
        hidden = torch.baddbmm(bias, frames, entry).relu_()
        if odd:
            hidden[:, -1].view(batch, self.count, 2, self.channels)[:, :, 1].zero_()
        return hidden

    def _overlap_add(self, each: Tensor) -> Tensor:
        """Add each pair's contributions to the pairs around it: (R, pairs, spans·8) → (R, …)."""
        rows, pairs, width = each.shape
        spans = self.spans
        steps = pairs + spans - 1
        padded = F.pad(each, [0, 0, spans - 1, spans - 1])
        if self.portable:  # compilers fuse these sums
            total = padded[:, :steps, width - 8 :]
            for k in range(1, spans):
                total = total + padded[:, k : k + steps, width - 8 * k - 8 : width - 8 * k]
            return total
        row = (steps + spans - 1) * width
        # the next pair with one span less contributes to the same pair of output frames
        return padded.as_strided(
            [rows, steps, spans, 8], [row, width, width - 8, 1], width - 8
        ).sum(2)

    def _with_edges(self, y: Tensor, hidden: Tensor) -> Tensor:
        count, batch, length = y.shape
        samples = 8 * self.edge
        right, pairs = self.right_even, self.edge
        if length % 8 != 0:
            right, pairs = self.right_odd, self.edge + 1
        start = hidden.narrow(1, 0, self.edge).reshape(batch, 1, -1)
        end = hidden.narrow(1, hidden.shape[1] - pairs, pairs).reshape(batch, 1, -1)
        first = torch.baddbmm(self.left_bias, start, self.left.expand(batch, -1, -1))
        last = torch.baddbmm(self.right_bias, end, right.expand(batch, -1, -1))
        first = first.view(batch, count, samples).transpose(0, 1)
        last = last.view(batch, count, samples).transpose(0, 1)
        rest = length - samples
        if self.portable:  # writing into a slice would be a scatter in other runtimes
            return y + F.pad(first, [0, rest]) + F.pad(last, [rest, 0])
        y.narrow(2, 0, samples).add_(first)
        y.narrow(2, rest, samples).add_(last)
        return y


def weights_of(value: Tensor) -> nn.Parameter:
    """Return a float32 parameter without gradient."""
    return nn.Parameter(value.detach().to(torch.float32).contiguous(), requires_grad=False)


def _both(matrix: Tensor, before: int, after: int) -> Tensor:
    """Join edge matrices (modules, edge·C, edge·4) into one in the channel order of `Modules`.

    `before` and `after` are unused frames, for an end in the middle of a pair.
    """
    count, _, samples = matrix.shape
    edge = samples // 4
    channels = matrix.shape[1] // edge if edge else 0
    frames = before + edge + after
    whole = matrix.new_zeros(frames // 2, count, 2, channels, count, samples)
    for i in range(count):
        wide = F.pad(matrix[i].view(edge, channels, samples), [0, 0, 0, 0, before, after])
        whole[:, i, :, :, i] = wide.view(frames // 2, 2, channels, samples)
    return whole.reshape(1, frames * count * channels, count * samples)


def _cut(padded: Tensor, columns: int) -> Tensor:
    """Cut overlapping runs of `columns` samples, 8 apart: (B, L) → (B, runs, columns)."""
    batch, runs = padded.shape[0], (padded.shape[1] - columns) // 8 + 1
    longer = F.pad(padded, [0, 8])
    pieces = []
    for at in range(0, columns, 8):
        run = longer[:, at : at + 8 * runs].reshape(batch, runs, 8)
        pieces.append(run[:, :, : min(columns - at, 8)])
    return torch.cat(pieces, dim=2)
