"""Choose a sensor's best PPG channel and its polarity."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.windows.conditioning import condition
from innpar.stream.windows.quality import Quality, assess

AMBIENT = "ambient"
AMBIENT_GAIN = 0.05
"""Least gain in quality for which ambient light is subtracted."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One PPG signal as a combination of a sensor's channels.

    Attributes:
        label: Published label, e.g. ``ppg2`` or ``ppg2-ambient``.
        weights: (channels,) weight of each channel; their sign turns the pulse upward.
    """

    label: str
    weights: tuple[float, ...]


@dataclass(slots=True)
class ChannelPicker:
    """Choose the channel with the best quality and keep it until the next gap.

    The choice stays open until a window has been accepted, so that the seconds in which the strap
    is being put on do not decide for the rest of the recording.

    Attributes:
        polarity: +1, -1, or 0 to detect it by the slope's skewness (the rising edge of a pulse is
            the steep one on wrist and finger alike).
        rate: Sampling rate, Hz.
        matrix: From `conditioning_matrix`.
        choice: Channel in use; None before the first window.
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
        """Return the chosen signal of a window, raw and conditioned, pulse upward; and its quality.

        Args:
            segment: Number of the gap-free segment; a new one reopens the choice.
            channels: Labels of the channels.
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
