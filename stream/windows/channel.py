"""Which of a sensor's PPG channels to use, and which way up it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.windows.conditioning import condition
from innpar.stream.windows.quality import Quality, assess

AMBIENT = "ambient"
AMBIENT_GAIN = 0.05
"""Ambient light is subtracted only where that raises the quality by more than this."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One PPG signal made of a sensor's channels.

    Attributes:
        label: As published, e.g. ``ppg2`` or ``ppg2-ambient``.
        weights: (channels,) what each contributes; the sign turns the pulse upward.
    """

    label: str
    weights: tuple[float, ...]


@dataclass(slots=True)
class ChannelPicker:
    """Keep the channel with the best quality until the next gap.

    Until a window has been accepted the choice stays open, so that a first second of fumbling with
    the strap does not decide for the hour.

    Attributes:
        polarity: +1, -1, or 0 to find out by the slope's skewness (the rising edge of a pulse is
            the steep one on wrist and finger alike).
    """

    polarity: int
    rate: float
    matrix: npt.NDArray[np.float64]
    choice: Choice | None = None
    _segment: int = field(init=False, default=-1)
    _settled: bool = field(init=False, default=False)

    def push(
        self, segment: int, channels: tuple[str, ...], raw: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], Quality]:
        """Return a window's chosen signal: raw and conditioned, upright, with its quality.

        Args:
            segment: A new one opens the choice again.
            channels: Labels.
            raw: (guard + window + guard, channels).
        """
        if segment != self._segment:
            self._segment, self._settled = segment, False
        if not self._settled or self.choice is None:
            best = max(
                (self._judge(choice, raw) for choice in self._candidates(channels)),
                key=lambda judged: judged[0],
            )
            _, self.choice, signal, conditioned, quality = best
            self._settled = quality.accepted
            return signal, conditioned, quality
        _, _, signal, conditioned, quality = self._judge(self.choice, raw)
        return signal, conditioned, quality

    def _candidates(self, channels: tuple[str, ...]) -> list[Choice]:
        signs = (self.polarity,) if self.polarity else (1, -1)
        choices = []
        for sign in signs:
            for column, label in enumerate(channels):
                if label == AMBIENT and len(channels) > 1:
                    continue
                weights = [0.0] * len(channels)
                weights[column] = float(sign)
                choices.append(Choice(label, tuple(weights)))
                if AMBIENT in channels and label != AMBIENT:
                    weights[channels.index(AMBIENT)] = -float(sign)
                    choices.append(Choice(f"{label}-{AMBIENT}", tuple(weights)))
        return choices

    def _judge(
        self, choice: Choice, raw: npt.NDArray[np.float64]
    ) -> tuple[float, Choice, npt.NDArray[np.float64], npt.NDArray[np.float32], Quality]:
        signal = sum(
            (weight * raw[:, column] for column, weight in enumerate(choice.weights) if weight),
            start=np.zeros(len(raw)),
        )
        conditioned = condition(signal, self.matrix)
        quality = assess(signal, conditioned, self.rate)
        cost = AMBIENT_GAIN if choice.label.endswith(f"-{AMBIENT}") else 0.0
        return quality.score - cost, choice, signal, conditioned, quality
