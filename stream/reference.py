"""The true pressure beside the estimate, where a device carries one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..devices import NS, Chunk
from .beats import Beat, BeatFinder
from .combine import Piece
from .estimate import Estimate, Reference
from .resample import Resampler, Stretch, period

MATCH_SECONDS = 0.15
"""Between the systolic peaks of an estimate and its reference."""
PATIENCE_SECONDS = 3.0
"""How long after its peak a reference beat can be confirmed at the latest."""
BLOCK = 32
"""Samples a step of the beat search: fixed, so that the cut of the chunks does not matter."""


@dataclass(slots=True)
class ReferenceTrack:
    """Hold estimates until the true pressure of the same beat is known, or known to be absent.

    Without any true pressure (`Chunk`s of signal ``abp``) estimates pass at once.

    Attributes:
        rate: Of the beat search, Hz.
        expected: Whether the device carries a true pressure at all.
    """

    rate: float
    expected: bool = False
    beats: int = 0
    _resampler: Resampler = field(init=False)
    _finder: BeatFinder = field(init=False)
    _block: npt.NDArray[np.float64] = field(init=False)
    _block_start: int = field(init=False, default=0)
    _segment: int = field(init=False, default=-1)
    _known: deque[tuple[int, Beat]] = field(init=False, default_factory=deque)
    _held: deque[Estimate] = field(init=False, default_factory=deque)
    _reached: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._resampler = Resampler(self.rate)
        self._finder = BeatFinder(self.rate)
        self._block = np.empty(0)

    def chunk(self, chunk: Chunk) -> list[Estimate]:
        """Take true pressure (mmHg, first channel) and return the estimates that are settled."""
        self.expected = True
        for output in self._resampler.push(chunk):
            if isinstance(output, Stretch):
                self._search(output)
        if len(chunk):
            self._reached = max(self._reached, int(chunk.times[-1]))
        return self._release()

    def push(self, estimate: Estimate) -> list[Estimate]:
        """Take an estimate and return those that are settled."""
        self._held.append(estimate)
        return self._release()

    def flush(self) -> list[Estimate]:
        """Settle every estimate that is still held."""
        self._reached = 2**62
        return self._release()

    def _search(self, stretch: Stretch) -> None:
        if stretch.segment != self._segment:
            self._segment, self._block_start = stretch.segment, stretch.index
            self._block = np.empty(0)
        self._block = np.concatenate([self._block, stretch.data[:, 0]])
        while len(self._block) >= BLOCK:
            block, self._block = self._block[:BLOCK], self._block[BLOCK:]
            piece = Piece(
                self._segment, self._block_start, block, np.empty(0, np.float32), 1.0, (), 0, 0.0
            )
            self._block_start += BLOCK
            for beat in self._finder.push(piece):
                self.beats += 1
                self._known.append((self._time(beat.peak), beat))

    def _time(self, index: int) -> int:
        return index * period(self.rate)

    def _release(self) -> list[Estimate]:
        released: list[Estimate] = []
        tolerance = int(MATCH_SECONDS * NS)
        while self._held:
            estimate = self._held[0]
            while self._known and self._known[0][0] < estimate.peak - tolerance:
                self._known.popleft()
            if self._known and self._known[0][0] <= estimate.peak + tolerance:
                _, beat = self._known.popleft()
                estimate = replace(estimate, reference=Reference(beat.sbp, beat.dbp, beat.map_))
            elif (
                self.expected
                and not self._known
                and self._reached < estimate.peak + int(PATIENCE_SECONDS * NS)
            ):
                break
            released.append(estimate)
            self._held.popleft()
        return released
