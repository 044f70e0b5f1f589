"""Cut grid samples into overlapping windows with guards for the filter; none spans a gap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.windows.resample import GridSamples


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One window of the network, with a guard on either side that only the filter sees.

    Attributes:
        segment: Number of the gap-free segment; see `GridSamples`.
        index: Grid index of the first sample after the left guard.
        raw: (guard + window + guard, channels) float64 in the sensor's unit.
        delivered: Time of the newest sample that the device had delivered by then, ns.
    """

    segment: int
    index: int
    raw: npt.NDArray[np.float64]
    delivered: int


@dataclass(slots=True)
class Windower:
    """Ring of the newest samples that yields a window every hop.

    Attributes:
        window: Samples the network sees.
        guard: Samples before and after them for the filter.
        hop: Samples from one window to the next, a multiple of 4.
    """

    window: int
    guard: int
    hop: int
    _ring: npt.NDArray[np.float64] = field(init=False)
    _start: int = field(init=False, default=0)
    _held: int = field(init=False, default=0)
    _index: int = field(init=False, default=0)
    _segment: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        if self.hop < 4 or self.hop % 4 or self.hop > self.window:
            raise ValueError(f"a hop is a multiple of 4 up to {self.window}, not {self.hop}")
        self._ring = np.empty((0, 0))

    @property
    def span(self) -> int:
        """Samples in a window with its guards."""
        return self.window + 2 * self.guard

    def push(self, stretch: GridSamples) -> list[Window]:
        """Add grid samples and return the windows that they complete."""
        if stretch.segment != self._segment:
            self._segment, self._index, self._held = stretch.segment, stretch.index, 0
            self._ring = np.empty((2 * self.span, stretch.data.shape[1]))
            self._start = 0
        windows: list[Window] = []
        taken = 0
        while taken < len(stretch.data):
            piece = stretch.data[taken : taken + self.span - self._held]
            taken += len(piece)
            self._append(piece)
            if self._held == self.span:
                raw = self._ring[self._start : self._start + self.span].copy()
                windows.append(
                    Window(self._segment, self._index + self.guard, raw, stretch.delivered)
                )
                self._start += self.hop
                self._held -= self.hop
                self._index += self.hop
        return windows

    def _append(self, piece: npt.NDArray[np.float64]) -> None:
        end = self._start + self._held
        if end + len(piece) > len(self._ring):
            self._ring[: self._held] = self._ring[self._start : end].copy()
            self._start, end = 0, self._held
        self._ring[end : end + len(piece)] = piece
        self._held += len(piece)
