"""Folded network for inference: forward and inverse, exact up to float32 rounding."""

import copy
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from innpar.models.network.collapse import Collapsed, collapse, modules_of, reach
from innpar.models.network.folded_modules import Modules, weights_of
from innpar.models.network.innpar import InnPar


class FoldedBlock(nn.Module):
    """`Block` on the two channels as separate tensors, (B, L) each."""

    def __init__(
        self, parts: Collapsed, index: int, margin: int, clamp: float, portable: bool
    ) -> None:
        super().__init__()
        self.clamp = clamp
        weight = parts.mixing[index].double()
        inverse = torch.linalg.inv(weight)
        self.w00, self.w01, self.w10, self.w11 = [float(v) for v in weight.flatten()]
        self.v00, self.v01, self.v10, self.v11 = [float(v) for v in inverse.flatten()]
        self.f: Modules = Modules(parts, slice(3 * index, 3 * index + 1), margin, portable)
        self.gh: Modules = Modules(parts, slice(3 * index + 1, 3 * index + 3), margin, portable)

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
    """Split a block's bias shifts (B, 1, 3, C) into those of F and those of G and H."""
    if shift is None:
        return None, None
    return shift[:, :, :1], shift[:, :, 1:]


class Encoder(nn.Module):
    """Shift of every module's bias by the context: (B, context) → (B, 1, modules, C)."""

    def __init__(self, model: InnPar, channels: int) -> None:
        super().__init__()
        first, last = _layers(model)
        shifts = torch.cat([_linear(m.shift).weight for m in modules_of(model)])
        self.channels = channels
        self.into: nn.Parameter = weights_of(first.weight.t().unsqueeze(0))
        self.into_bias: nn.Parameter = weights_of(first.bias.view(1, 1, -1))
        self.out: nn.Parameter = weights_of(last.weight.t().unsqueeze(0))
        self.out_bias: nn.Parameter = weights_of(last.bias.view(1, 1, -1))
        self.shift: nn.Parameter = weights_of(shifts.repeat_interleave(4, dim=0).t().unsqueeze(0))

    def forward(self, context: Tensor) -> Tensor:
        batch = context.shape[0]
        h = context.unsqueeze(1)
        h = F.gelu(torch.baddbmm(self.into_bias, h, self.into.expand(batch, -1, -1)))
        h = torch.baddbmm(self.out_bias, h, self.out.expand(batch, -1, -1))
        return torch.bmm(h, self.shift.expand(batch, -1, -1)).view(batch, 1, -1, self.channels)


def _linear(module: nn.Module | None) -> nn.Linear:
    if not isinstance(module, nn.Linear):
        raise TypeError(f"the context encoder has linear layers, not {type(module).__name__}")
    return module


def _layers(model: InnPar) -> tuple[nn.Linear, nn.Linear]:
    if not isinstance(model.encoder, nn.Sequential):
        raise TypeError("a network without context has no encoder")
    first, _, last = model.encoder
    return _linear(first), _linear(last)


class Folded(nn.Module):
    """`InnPar` for inference: the same `forward` and `inverse` in float32, a ninth of the work.

    Args:
        model: The network.
        portable: See `fold`.
    """

    context: Final[int]
    shortest: Final[int]

    def __init__(self, model: InnPar, portable: bool) -> None:
        super().__init__()
        double = copy.deepcopy(model).double()
        sizes = reach(model.kernel)
        with torch.no_grad():
            parts = _halved_scale(collapse(double, edge=sizes.edge + sizes.edge % 2))
        self.context = model.context
        self.shortest = 8 * max(sizes.edge, 1)
        self.blocks: nn.ModuleList = nn.ModuleList(
            FoldedBlock(parts, i, sizes.margin, model.clamp, portable)
            for i in range(len(model.blocks))
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
        """Invert `forward` under the same context: (batch, 2, length) → (batch, 2, length)."""
        shift = self._shift(y, context)
        a, b = y[:, 0], y[:, 1]
        i = len(self.blocks)
        for block in self.blocks[::-1]:
            i -= 1
            own = None if shift is None else shift[:, :, 3 * i : 3 * i + 3]
            # the elements of a ModuleList are untyped
            a, b = block.inverse(a, b, own)  # type: ignore[operator]
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


class FoldedInverse(nn.Module):
    """`Folded.inverse` as a module's forward, for exports of one function."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map ABP and its gradient to PPG and its gradient: (batch, 2, length), unchanged shape."""
        return self.folded.inverse(x, context)


def _halved_scale(parts: Collapsed) -> Collapsed:
    """Halve the output of H, as clamp·(2σ(v) - 1) = clamp·tanh(v/2)."""
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


def fold(model: InnPar, *, portable: bool = False) -> Folded:
    """Fold a network for inference, exact up to float32 rounding, ends included.

    Args:
        model: The network, left unchanged.
        portable: Use operations that suit compilers and other runtimes than TorchScript.
    """
    return Folded(model, portable).eval()
