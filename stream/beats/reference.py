"""Match reconstructed beats with the true pressure, where a device records it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from innpar.devices import NS, Chunk
from innpar.stream.beats.combine import JoinedWave
from innpar.stream.beats.detector import BeatFinder, DetectedBeat
from innpar.stream.results import Beat, Reference
from innpar.stream.windows.resample import SET_BACK, GridSamples, Resampler, period

MATCH_SECONDS = 0.15
"""Largest distance between the systolic peaks of a beat and its reference."""
MOST = 64
"""Beats held at most on either side, so that a missing reference does not delay the output."""
PATIENCE_SECONDS = 3.0
"""Longest time from a reference beat's peak to its confirmation."""


@dataclass(slots=True)
class ReferenceTrack:
    """Hold beats until their true pressure is known, or known to be absent.

    Without true pressure (`Chunk`s of signal ``abp``) beats pass at once.

    Attributes:
        rate: Sampling rate of the beat detection, Hz.
        expected: Whether the device records true pressure.
        beats: Number of reference beats found.
    """

    rate: float
    expected: bool = False
    beats: int = 0
    _resampler: Resampler = field(init=False)
    _finder: BeatFinder = field(init=False)
    _known: deque[DetectedBeat] = field(init=False, default_factory=lambda: deque(maxlen=MOST))
    _held: deque[Beat] = field(init=False, default_factory=deque)
    _reached: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._resampler = Resampler(self.rate)
        self._finder = BeatFinder(self.rate)

    def chunk(self, chunk: Chunk) -> list[Beat]:
        """Add true pressure (mmHg, first channel) and return the beats that need not wait."""
        self.expected = True
        for output in self._resampler.push(chunk):
            if isinstance(output, GridSamples):
                self._search(output)
        if len(chunk):
            if int(chunk.times[0]) < self._reached - SET_BACK:
                self._known.clear()
            self._reached = int(chunk.times[-1])
        return self._release()

    def push(self, estimate: Beat) -> list[Beat]:
        """Add a beat and return those that need not wait."""
        self._held.append(estimate)
        return self._release()

    def flush(self) -> list[Beat]:
        """Return every beat that is still held."""
        self._reached = 2**62
        return self._release()

    def _search(self, stretch: GridSamples) -> None:
        none = np.empty(0, np.float32)
        abp = np.ascontiguousarray(stretch.data[:, 0])
        piece = JoinedWave(stretch.segment, stretch.index, abp, none, 1.0, (), 0, 0.0)
        for beat in self._finder.push(piece):
            self.beats += 1
            self._known.append(beat)

    def _time(self, index: int) -> int:
        return index * period(self.rate)

    def _release(self) -> list[Beat]:
        released: list[Beat] = []
        tolerance, patience = int(MATCH_SECONDS * NS), int(PATIENCE_SECONDS * NS)
        while self._held:
            estimate = self._held[0]
            while self._known and self._time(self._known[0].peak) < estimate.peak - tolerance:
                self._known.popleft()
            beat = self._known[0] if self._known else None
            if (
                beat is not None
                and self._time(beat.peak) <= estimate.peak + tolerance
                and self._time(beat.confirmed) <= estimate.peak + patience
            ):
                estimate = replace(estimate, reference=Reference(beat.sbp, beat.dbp, beat.map_))
                self._known.popleft()
            elif (
                beat is None
                and self.expected
                and self._reached < estimate.peak + patience
                and len(self._held) <= MOST
            ):
                break
            released.append(estimate)
            self._held.popleft()
        return released
