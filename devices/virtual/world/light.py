"""Light at a virtual sensor: counts as a function of time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event

Ints = npt.NDArray[np.int64]

Light = Callable[[Ints], Ints]
"""(samples,) int64 ns since the Unix epoch, ascending over all calls → (samples, 4) counts."""

LIMIT = (1 << 21) - 1
"""Largest count of the sensor's 22-bit converter."""


def pulse(times: Ints) -> Ints:
    """Return a pulse of 72 per minute on three channels and constant ambient light.

    Args:
        times: (samples,) int64, ns since the Unix epoch.

    Returns:
        (samples, 4) int64 counts; systole is a minimum.
    """
    phase = (times % (5 * NS)) / NS * 1.2 * 2 * math.pi
    beat = np.cos(phase) + 0.4 * np.cos(2 * phase + 0.8)
    counts = np.stack([base - gain * beat for base, gain in _OPTICS], axis=1)
    return np.concatenate([counts, np.full((len(times), 1), 12_345.0)], axis=1).astype(np.int64)


_OPTICS = ((410_000, 2_100), (402_000, 1_700), (425_000, 1_300))


TRUTH = 4096
"""Most chunks of true pressure kept."""


class FromChunks:
    """Light from a simulated wearer or a recording, interpolated to the sensor's sampling times.

    Args:
        items: Chunks in order; fewer than three light channels are repeated, and a missing ambient
            channel is zero.

    Attributes:
        truth: Its ``abp`` chunks, shifted to the sensor's time like the light.
    """

    def __init__(self, items: Iterator[Chunk | Event]) -> None:
        self.truth: deque[Chunk] = deque(maxlen=TRUTH)
        self._items = items
        self._times = np.empty(0, np.int64)
        self._counts = np.empty((0, 4), np.float64)
        self._shift: int | None = None

    def __call__(self, times: Ints) -> Ints:
        """Return the light at (samples,) int64 `times`, ns since the Unix epoch.

        Returns:
            (samples, 4) int64 counts; after the last chunk, the last sample is repeated.

        Raises:
            ValueError: There is no PPG among the items.
        """
        while not len(self._times) or self._times[-1] + (self._shift or 0) < times[-1]:
            if not self._more(int(times[0])):
                break
        if not len(self._times):
            raise ValueError("the wearer of the virtual sensor provides no PPG")
        at = times - (self._shift or 0)
        since = (self._times - at[0]).astype(np.float64)
        seen = [np.interp(at - at[0], since, column) for column in self._counts.T]
        keep = max(int(np.searchsorted(self._times, at[0])) - 1, 0)
        self._times, self._counts = self._times[keep:], self._counts[keep:]
        counts: Ints = np.clip(np.rint(np.stack(seen, axis=1)), -LIMIT, LIMIT).astype(np.int64)
        return counts

    def _more(self, first: int) -> bool:
        """Fetch the next PPG chunk; the first one is shifted to begin at `first`, ns."""
        for chunk in self._items:
            if not isinstance(chunk, Chunk) or not len(chunk):
                continue
            if self._shift is None:
                self._shift = first - int(chunk.times[0])
            if chunk.signal == "abp":
                self.truth.append(replace(chunk, times=chunk.times + self._shift))
            elif chunk.signal == "ppg":
                good = np.isfinite(chunk.data).all(axis=1)
                self._times = np.concatenate([self._times, chunk.times[good]])
                self._counts = np.concatenate([self._counts, _four(chunk)[good]])
                return True
        return False


def _four(chunk: Chunk) -> npt.NDArray[np.float64]:
    """Return three light channels and the ambient, (samples, 4)."""
    labels = list(chunk.channels)
    light = [i for i, label in enumerate(labels) if label != "ambient"]
    columns = [chunk.data[:, light[i % len(light)]] for i in range(3)]
    dark = np.zeros(len(chunk))
    ambient = chunk.data[:, labels.index("ambient")] if "ambient" in labels else dark
    return np.stack([*columns, ambient], axis=1)
