"""The published network: an invertible map between (PPG, ∇PPG) and (ABP, ∇ABP).

S. Kundu et al., INN-PAR: Invertible Neural Network for PPG to ABP Reconstruction, ICASSP 2025,
doi 10.1109/ICASSP49660.2025.10888915.

The length in samples is a multiple of 4 throughout; channel 0 is the signal, channel 1 its
gradient. Every class can be compiled by `torch.jit.script`, including `inverse`.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from innpar.models.network.parameters import EMBEDDING


def gradient(signal: Tensor) -> Tensor:
    """Correlate with [-1, 0, 1], with zeros beyond the ends and without the factor ½.

    Args:
        signal: (..., length), any unit.

    Returns:
        (..., length) in the same unit per two samples.
    """
    padded = F.pad(signal, [1, 1])
    return padded[..., 2:] - padded[..., :-2]


def joint(signal: Tensor) -> Tensor:
    """Stack a signal and its gradient: (batch, length) → (batch, 2, length)."""
    return torch.stack([signal, gradient(signal)], dim=1)


def squeeze(x: Tensor) -> Tensor:
    """Move every second sample to a channel of its own: (B, C, L) → (B, 2C, L/2).

    Sample 2n + p of channel c becomes sample n of channel 2c + p.
    """
    batch, channels, length = x.shape
    return (
        x.view(batch, channels, length // 2, 2)
        .transpose(2, 3)
        .reshape(batch, 2 * channels, length // 2)
    )


def unsqueeze(x: Tensor) -> Tensor:
    """Invert `squeeze`: (B, 2C, L/2) → (B, C, L)."""
    batch, channels, length = x.shape
    return (
        x.view(batch, channels // 2, 2, length)
        .transpose(2, 3)
        .reshape(batch, channels // 2, 2 * length)
    )


def _same(inputs: int, outputs: int, kernel: int) -> nn.Conv1d:
    convolution = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.xavier_normal_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class MultiScale(nn.Module):
    """Multi-scale convolutions from one channel to one, with a single ReLU after the first.

    With a context, each channel of the first convolution receives a further bias, constant over
    the window: a linear function of the embedding, initially zero. As it acts before the only
    non-linearity, the network stays invertible and the fold exact.
    """

    def __init__(self, features: int, kernel: int, context: int) -> None:
        super().__init__()
        self.entry: nn.Conv1d = _same(1, features, kernel)
        self.half_in: nn.Conv1d = _same(2 * features, 2 * features, kernel)
        self.quarter: nn.Conv1d = _same(4 * features, 4 * features, kernel)
        self.half_out: nn.Conv1d = _same(2 * features, 2 * features, kernel)
        self.exit: nn.Conv1d = _same(features, 1, kernel)
        self.shift: nn.Linear | None = None
        if context:
            self.shift = nn.Linear(EMBEDDING, features, bias=False)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.entry(x)  # (B, 1, L) → (B, 16, L)
        if self.shift is not None and embedding is not None:
            h = h + self.shift(embedding).unsqueeze(2)  # (B, 32) → (B, 16, 1)
        return self.affine(F.relu(h))

    def affine(self, h: Tensor) -> Tensor:
        """Apply the layers after the ReLU: affine, equivariant to shifts by 4 but for the ends."""
        h = self.half_in(squeeze(h))  # (B, 16, L) → (B, 32, L/2)
        h = self.quarter(squeeze(h))  # → (B, 64, L/4)
        h = self.half_out(unsqueeze(h))  # → (B, 32, L/2)
        out: Tensor = self.exit(unsqueeze(h))  # → (B, 16, L) → (B, 1, L)
        return out


class Mixing(nn.Module):
    """Invertible 1×1 convolution on two channels, W = P·L·(U + diag(sign · exp(log_s)))."""

    p: Tensor
    sign_s: Tensor

    def __init__(self) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(2, 2))
        p, lower, upper = torch.linalg.lu(rotation)
        s = torch.diagonal(upper)
        self.register_buffer("p", p.contiguous())
        self.register_buffer("sign_s", torch.sign(s))
        self.lower: nn.Parameter = nn.Parameter(lower.contiguous())
        self.log_s: nn.Parameter = nn.Parameter(torch.log(torch.abs(s)))
        self.upper: nn.Parameter = nn.Parameter(torch.triu(upper, 1))

    def weight(self) -> Tensor:
        """Return W, (2, 2)."""
        unit = torch.eye(2, dtype=self.lower.dtype, device=self.lower.device)
        scale = torch.diag(self.sign_s * torch.exp(self.log_s))
        return self.p @ (torch.tril(self.lower, -1) + unit) @ (torch.triu(self.upper, 1) + scale)

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(self.weight(), x)  # (2, 2)·(B, 2, L)

    @torch.jit.export
    def inverse(self, y: Tensor) -> Tensor:
        w = self.weight()
        adjugate = torch.stack([torch.stack([w[1, 1], -w[0, 1]]), torch.stack([-w[1, 0], w[0, 0]])])
        determinant = w[0, 0] * w[1, 1] - w[0, 1] * w[1, 0]
        return torch.matmul(adjugate / determinant, y)


class Block(nn.Module):
    """Invertible block: mixing of the two channels, then affine coupling of each to the other."""

    clamp: Final[float]

    def __init__(self, features: int, kernel: int, clamp: float, context: int) -> None:
        super().__init__()
        self.clamp = clamp
        self.mixing: Mixing = Mixing()
        self.f: MultiScale = MultiScale(features, kernel, context)
        self.g: MultiScale = MultiScale(features, kernel, context)
        self.h: MultiScale = MultiScale(features, kernel, context)

    def _log_scale(self, y1: Tensor, embedding: Tensor | None) -> Tensor:
        return self.clamp * (2.0 * torch.sigmoid(self.h(y1, embedding)) - 1.0)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        x = self.mixing(x)
        x1, x2 = x[:, :1], x[:, 1:]  # (B, 1, L) each
        y1 = x1 + self.f(x2, embedding)
        y2 = x2 * torch.exp(self._log_scale(y1, embedding)) + self.g(y1, embedding)
        return torch.cat([y1, y2], dim=1)

    @torch.jit.export
    def inverse(self, y: Tensor, embedding: Tensor | None = None) -> Tensor:
        y1, y2 = y[:, :1], y[:, 1:]
        x2 = (y2 - self.g(y1, embedding)) * torch.exp(-self._log_scale(y1, embedding))
        x1 = y1 - self.f(x2, embedding)
        return self.mixing.inverse(torch.cat([x1, x2], dim=1))


class InnPar(nn.Module):
    """INN-PAR network, (PPG, ∇PPG) ↔ (ABP, ∇ABP).

    S. Kundu et al., INN-PAR: Invertible Neural Network for PPG to ABP Reconstruction, ICASSP 2025,
    doi 10.1109/ICASSP49660.2025.10888915.

    Args:
        blocks: Number of invertible blocks. The inverse is accurate in float32 up to about 16.
        features: Channels after each module's first convolution.
        kernel: Taps of every convolution, odd.
        clamp: Bound of the log scale in each coupling.
        context: Length of each window's context vector (cuff reading, changes since, …, see
            `innpar.models.calibration.context`; all zero: not calibrated). With 0 this is the
            published network, parameter for parameter.

    Raises:
        ValueError: An argument is out of range.
    """

    features: Final[int]
    kernel: Final[int]
    clamp: Final[float]
    context: Final[int]

    def __init__(
        self,
        blocks: int = 4,
        features: int = 16,
        kernel: int = 5,
        clamp: float = 0.8,
        context: int = 0,
    ) -> None:
        if blocks < 1 or features < 1 or context < 0 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                "a network has at least one block and one feature, an odd kernel and no negative "
                f"context, not {blocks=} {features=} {kernel=} {context=}"
            )
        super().__init__()
        self.features, self.kernel, self.clamp = features, kernel, clamp
        self.context = context
        self.blocks: nn.ModuleList = nn.ModuleList(
            Block(features, kernel, clamp, context) for _ in range(blocks)
        )
        self.encoder: nn.Module | None = None
        if context:
            self.encoder = nn.Sequential(
                nn.Linear(context, EMBEDDING), nn.GELU(), nn.Linear(EMBEDDING, EMBEDDING)
            )

    def embed(self, x: Tensor, context: Tensor | None = None) -> Tensor | None:
        """Check the shapes of a call and encode its context, (batch, context) → (batch, 32)."""
        if x.dim() != 3 or x.shape[1] != 2 or x.shape[2] % 4 != 0 or x.shape[2] == 0:
            raise ValueError(
                f"expected (batch, 2, length) with a length that is a multiple of 4, "
                f"not {list(x.shape)}"
            )
        if self.encoder is None:
            if context is not None:
                raise ValueError("this network takes no context; leave it out")
            return None
        if context is None:
            context = torch.zeros(x.shape[0], self.context, dtype=x.dtype, device=x.device)
        if context.dim() != 2 or context.shape[0] != x.shape[0] or context.shape[1] != self.context:
            raise ValueError(
                f"expected a context of ({x.shape[0]}, {self.context}), not {list(context.shape)}"
            )
        embedding: Tensor = self.encoder(context)
        return embedding

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map PPG and its gradient to ABP and its gradient.

        Args:
            x: (batch, 2, length) from `joint`, each window normalised.
            context: (batch, context); None for uncalibrated windows.

        Returns:
            (batch, 2, length) in network units, see `Manifest.abp_scale`.

        Raises:
            ValueError: A shape does not fit.
        """
        embedding = self.embed(x, context)
        for block in self.blocks:
            x = block(x, embedding)
        return x

    @torch.jit.export
    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Invert `forward` under the same context: (batch, 2, length) → (batch, 2, length)."""
        embedding = self.embed(y, context)
        for block in self.blocks[::-1]:
            # the elements of a ModuleList are untyped
            y = block.inverse(y, embedding)  # type: ignore[operator]
        return y
