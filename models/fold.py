"""The network folded for inference: three matrix products a module instead of five convolutions.

`collapse` gives, for frames of 4 samples, one matrix into the hidden channels and one short
convolution out of them. Two frames go together here, and a convolution runs as one product followed
by an overlapping sum: few-channel convolutions reach a tenth of a core's speed, such products two
thirds. What has as many rows as the batch has windows runs window by window, because a library
chooses its rounding by the number of rows and results must not depend on who else is in a batch.
"""

import copy
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .collapse import Collapsed, collapse, reach
from .innpar import Block, InnPar


class Modules(nn.Module):
    """Folded modules that share their input: (B, L) → (modules, B, L).

    Hidden channels lie as [pair of frames][module][frame of the pair][channel].
    """

    modules_: Final[int]
    channels: Final[int]
    margin: Final[int]
    reach: Final[int]
    spans: Final[int]
    edge: Final[int]

    def __init__(self, parts: Collapsed, which: slice, margin: int) -> None:
        super().__init__()
        entry, kernel = parts.entry[which], parts.kernel[which]
        count, columns, channels = entry.shape
        taps = kernel.shape[2] // 4
        self.modules_, self.channels, self.margin = count, channels, margin
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
        self.entry = _buffer(paired.reshape(1, columns + 4, -1))
        self.entry_bias = _buffer(bias.reshape(1, 1, -1))
        self.kernel = _buffer(spread.reshape(count, 2 * channels, -1))
        self.bias = _buffer(centre.reshape(count, 1, -1))
        self.left = _buffer(_both(parts.left[which], 0, 0))
        self.left_bias = _buffer(parts.left_bias[which].reshape(1, 1, -1))
        self.right_even = _buffer(_both(parts.right[which], 0, 0))
        self.right_odd = _buffer(_both(parts.right[which], 1, 1))
        self.right_bias = _buffer(parts.right_bias[which].reshape(1, 1, -1))

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        hidden = self._hidden(x, shift)  # (B, pairs, modules·2·C)
        batch, pairs, width = hidden.shape
        count = self.modules_
        length = x.shape[1]
        by_module = hidden.view(batch * pairs, count, width // count).transpose(0, 1)
        each = torch.baddbmm(self.bias, by_module, self.kernel)  # (modules, B·pairs, spans·8)
        y = self._overlap_add(each.view(count * batch, pairs, -1))
        y = y.view(count, batch, -1)[:, :, 4 * self.reach : 4 * self.reach + length]
        if self.edge > 0:
            self._correct_edges(y, hidden)
        return y

    def _hidden(self, x: Tensor, shift: Tensor | None) -> Tensor:
        batch, length = x.shape
        odd = length % 8 != 0
        columns = self.entry.shape[1]
        after = columns - 8 - self.margin
        frames = F.pad(x, [self.margin, after + 4 if odd else after]).unfold(1, columns, 8)
        bias = self.entry_bias
        if shift is not None:
            bias = bias + shift.unsqueeze(3).expand(-1, -1, -1, 2, -1).reshape(batch, 1, -1)
        entry = self.entry.expand(batch, -1, -1)
        hidden = torch.baddbmm(bias, frames.contiguous(), entry).relu_()
        if odd:
            hidden[:, -1].view(batch, self.modules_, 2, self.channels)[:, :, 1].zero_()
        return hidden

    def _overlap_add(self, each: Tensor) -> Tensor:
        """Sum what the pairs give the pairs around them: (R, pairs, spans·8) → (R, …)."""
        rows, pairs, width = each.shape
        spans = self.spans
        padded = F.pad(each, [0, 0, spans - 1, spans - 1])
        row = (pairs + 2 * spans - 2) * width
        # one pair further and one span less is the same pair of output frames
        size = [rows, pairs + spans - 1, spans, 8]
        return padded.as_strided(size, [row, width, width - 8, 1], width - 8).sum(2)

    def _correct_edges(self, y: Tensor, hidden: Tensor) -> None:
        count, batch, length = y.shape
        samples = 8 * self.edge
        right, pairs = self.right_even, self.edge
        if length % 8 != 0:
            right, pairs = self.right_odd, self.edge + 1
        start = hidden[:, : self.edge].reshape(batch, 1, -1)
        end = hidden[:, -pairs:].reshape(batch, 1, -1)
        first = torch.baddbmm(self.left_bias, start, self.left.expand(batch, -1, -1))
        last = torch.baddbmm(self.right_bias, end, right.expand(batch, -1, -1))
        y[:, :, :samples] += first.view(batch, count, samples).transpose(0, 1)
        y[:, :, length - samples :] += last.view(batch, count, samples).transpose(0, 1)


def _buffer(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().to(torch.float32).contiguous(), requires_grad=False)


def _both(matrix: Tensor, before: int, after: int) -> Tensor:
    """Edge matrices (modules, edge·C, edge·4) as one for the layout of `Modules`.

    `before` and `after` are frames that take no part, for an end that splits a pair.
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


class FoldedBlock(nn.Module):
    """Mixing and coupling on the two channels held apart, (B, L) each."""

    def __init__(self, parts: Collapsed, index: int, margin: int, clamp: float) -> None:
        super().__init__()
        self.clamp = clamp
        weight = parts.mixing[index].double()
        inverse = torch.linalg.inv(weight)
        self.w00, self.w01, self.w10, self.w11 = [float(v) for v in weight.flatten()]
        self.v00, self.v01, self.v10, self.v11 = [float(v) for v in inverse.flatten()]
        self.f = Modules(parts, slice(3 * index, 3 * index + 1), margin)
        self.gh = Modules(parts, slice(3 * index + 1, 3 * index + 3), margin)

    def forward(self, a: Tensor, b: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        to_f, to_gh = _split(shift)
        y1 = torch.add(a * self.w00, b, alpha=self.w01)
        x2 = torch.add(a * self.w10, b, alpha=self.w11)
        y1 = y1 + self.f(x2, to_f)[0]
        gh = self.gh(y1, to_gh)
        return y1, torch.addcmul(gh[0], x2, gh[1].tanh().mul_(self.clamp).exp_())

    @torch.jit.export
    def inverse(self, y1: Tensor, y2: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        to_f, to_gh = _split(shift)
        gh = self.gh(y1, to_gh)
        x2 = (y2 - gh[0]) * gh[1].tanh().mul_(-self.clamp).exp_()
        x1 = y1 - self.f(x2, to_f)[0]
        a = torch.add(x1 * self.v00, x2, alpha=self.v01)
        return a, torch.add(x1 * self.v10, x2, alpha=self.v11)


def _split(shift: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """(B, 1, 3, C) for a block → for F and for G with H."""
    if shift is None:
        return None, None
    return shift[:, :, :1], shift[:, :, 1:]


class Encoder(nn.Module):
    """The context's way to every module's bias, window by window: (B, context) → (B, 3·blocks, C)."""

    def __init__(self, model: InnPar, channels: int) -> None:
        super().__init__()
        first, last = model.encoder[0], model.encoder[2]
        blocks = [b for b in model.blocks if isinstance(b, Block)]
        shifts = torch.cat([m.shift.weight for b in blocks for m in (b.f, b.g, b.h)])
        self.channels = channels
        self.into = _buffer(first.weight.t().unsqueeze(0))
        self.into_bias = _buffer(first.bias.view(1, 1, -1))
        self.out = _buffer(last.weight.t().unsqueeze(0))
        self.out_bias = _buffer(last.bias.view(1, 1, -1))
        self.shift = _buffer(shifts.repeat_interleave(4, dim=0).t().unsqueeze(0))

    def forward(self, context: Tensor) -> Tensor:
        batch = context.shape[0]
        h = context.unsqueeze(1)
        h = F.gelu(torch.baddbmm(self.into_bias, h, self.into.expand(batch, -1, -1)))
        h = torch.baddbmm(self.out_bias, h, self.out.expand(batch, -1, -1))
        return torch.bmm(h, self.shift.expand(batch, -1, -1)).view(batch, 1, -1, self.channels)


class Folded(nn.Module):
    """`InnPar` for inference: the same function, `forward` and `inverse`, float32."""

    context: Final[int]
    shortest: Final[int]

    def __init__(self, model: InnPar) -> None:
        super().__init__()
        double = copy.deepcopy(model).double()
        block = double.blocks[0]
        if not isinstance(block, Block):
            raise TypeError("the network's blocks are coupling blocks")
        sizes = reach(block.f.entry.kernel_size[0])
        with torch.no_grad():
            parts = _halved_scale(collapse(double, edge=sizes.edge + sizes.edge % 2))
        self.context = model.context
        self.shortest = 8 * max(sizes.edge, 1)
        self.blocks = nn.ModuleList(
            FoldedBlock(parts, i, sizes.margin, block.clamp) for i in range(len(double.blocks))
        )
        self.encoder: Encoder | None = None
        if model.context:
            self.encoder = Encoder(double, parts.kernel.shape[1])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (batch, 2, length) to (batch, 2, length) as `InnPar.forward` does."""
        shift = self._shift(x, context)
        a, b = x[:, 0], x[:, 1]
        for i, block in enumerate(self.blocks):
            own = None if shift is None else shift[:, :, 3 * i : 3 * i + 3]
            a, b = block(a, b, own)
        return torch.stack([a, b], dim=1)

    @torch.jit.export
    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Undo `forward` under the same context."""
        shift = self._shift(y, context)
        a, b = y[:, 0], y[:, 1]
        i = len(self.blocks)
        for block in self.blocks[::-1]:
            i -= 1
            own = None if shift is None else shift[:, :, 3 * i : 3 * i + 3]
            a, b = block.inverse(a, b, own)
        return torch.stack([a, b], dim=1)

    def _shift(self, x: Tensor, context: Tensor | None) -> Tensor | None:
        if x.dim() != 3 or x.shape[1] != 2 or x.shape[2] % 4 != 0 or x.shape[2] < self.shortest:
            raise ValueError(
                f"expected (batch, 2, length) with a length that is a multiple of 4 and at least "
                f"{self.shortest}, not {list(x.shape)}"
            )
        if self.encoder is None:
            return None
        if context is None:
            context = torch.zeros(x.shape[0], self.context, dtype=x.dtype, device=x.device)
        shift: Tensor = self.encoder(context)
        return shift


def _halved_scale(parts: Collapsed) -> Collapsed:
    """0.8·(2σ(v) - 1) is 0.8·tanh(v/2); the half goes into H's outgoing matrices."""
    half = torch.ones(parts.kernel.shape[0], dtype=parts.kernel.dtype)
    half[2::3] = 0.5
    matrix, vector = half.view(-1, 1, 1), half.view(-1, 1)
    return parts._replace(
        kernel=parts.kernel * matrix,
        bias=parts.bias * vector,
        left=parts.left * matrix,
        left_bias=parts.left_bias * vector,
        right=parts.right * matrix,
        right_bias=parts.right_bias * vector,
    )


def fold(model: InnPar) -> Folded:
    """Fold a network for inference. Exact up to float32 rounding, ends included."""
    return Folded(model).eval()
