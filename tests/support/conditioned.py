"""The light of a recording as the beat finder sees it, without the network."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk
from innpar.stream.beats.upstrokes import UpstrokeFinder
from innpar.stream.windows.conditioning import condition
from innpar.stream.windows.resample import GridSamples, Resampler
from innpar.stream.windows.window import Windower
from support.windows import GUARD, MATRIX, WINDOW
from support.windows import RATE as GRID

Floats = npt.NDArray[np.float64]
HOP, DROP = 128, 60
EPOCH = 1_700_000_000


def conditioned(light: Floats, rate: float) -> tuple[float, Floats]:
    """Return the conditioned light at 125 Hz and the time of its first sample, s."""
    times = EPOCH * NS + np.round(np.arange(len(light)) / rate * NS).astype(np.int64)
    resampler, windower = Resampler(GRID), Windower(WINDOW, GUARD, HOP)
    chunk = Chunk("test", "ppg", ("ppg0",), rate, times, light[:, None])
    pieces, first, end = list[Floats](), 0, 0
    for samples in [*resampler.push(chunk), *resampler.flush()]:
        for window in windower.push(samples) if isinstance(samples, GridSamples) else []:
            skip = max(DROP, end - window.index)
            first = first or window.index + skip
            own = condition(window.raw[:, 0], MATRIX).astype(np.float64)
            pieces.append(own[skip : WINDOW - DROP])
            end = window.index + WINDOW - DROP
    return first / GRID - EPOCH, np.concatenate(pieces)


def found_upstrokes(light: Floats, rate: float) -> Floats:
    """Return the times of the upstrokes, s since the first sample."""
    start, wave = conditioned(light, rate)
    finder = UpstrokeFinder(GRID)
    finder.begin(0)
    return start + np.array([one.steepest for one in finder.push(wave)]) / GRID


def matched(found: Floats, true: Floats, begin: float, end: float) -> tuple[int, int, int, Floats]:
    """Return hits, true beats and found beats in [begin, end), and the errors of the rates.

    A detector's constant delay is taken out; the tolerance is 0.15 s. A rate is that between two
    found beats in a row, against the one between the true beats they match, per minute.
    """
    at = np.clip(np.searchsorted(true, found), 1, len(true) - 1)
    near = np.where(found - true[at - 1] < true[at] - found, true[at - 1], true[at])
    close = np.abs(found - near) < 0.3
    found = found - (np.median((found - near)[close]) if close.any() else 0.0)
    true = true[(true >= begin) & (true < end)]
    found = found[(found >= begin) & (found < end)]
    i = j = 0
    pairs = list[tuple[int, int]]()
    while i < len(true) and j < len(found):
        if abs(true[i] - found[j]) <= 0.15:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif true[i] < found[j]:
            i += 1
        else:
            j += 1
    errors = [
        60 / (found[b] - found[a]) - 60 / (true[m] - true[k])
        for (k, a), (m, b) in itertools.pairwise(pairs)
        if b == a + 1
    ]
    return len(pairs), len(true), len(found), np.array(errors)
