"""An array as a device: its samples as a recording would deliver them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk, Event, HostClock, Tap
from innpar.devices.base import Source

START = 946_684_800 * NS
"""Time of the first sample, ns since the Unix epoch: 2000-01-01, as for files without a date."""
CHUNK_SECONDS = 10.0


class SampleArray:
    """Samples of one wearer; a `Device` that waits until they are taken.

    Args:
        id: Name in every result.
        samples: (samples,) float64, any unit. NaN marks a missing sample.
        rate: Hz.
        polarity: See `Device`.
        chunk_seconds: Seconds of signal in a chunk; no result depends on it.
        advance: Called with the seconds of signal of each chunk that has been taken.
    """

    source: Source = "replay"
    site: str = "unknown"

    def __init__(
        self,
        id: str,
        samples: npt.NDArray[np.float64],
        rate: float,
        polarity: Literal[-1, 0, 1] = 0,
        *,
        chunk_seconds: float = CHUNK_SECONDS,
        advance: Callable[[float], None] | None = None,
    ) -> None:
        self.id = id
        self.polarity: Literal[-1, 0, 1] = polarity
        self.halted: bool = False
        self._samples = samples
        self._rate = rate
        self._size = max(1, round(chunk_seconds * rate))
        self._advance = advance

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Start delivering; see `Device`. There are no frames for a tap."""
        async with aclosing(self._deliver()) as items:
            yield items

    async def _deliver(self) -> AsyncGenerator[Chunk | Event, None]:
        detail = {"model": "array", "format": "array", "rate": self._rate, "channels": ["ppg"]}
        yield Event(self.id, "connected", START, START, detail)
        for first in range(0, len(self._samples), self._size):
            if self.halted:
                return
            index = np.arange(first, min(first + self._size, len(self._samples)))
            times = START + np.rint(index / self._rate * NS).astype(np.int64)
            yield Chunk(
                self.id, "ppg", ("ppg",), self._rate, times, self._samples[index][:, np.newaxis]
            )
            if self._advance is not None:
                self._advance(len(index) / self._rate)
