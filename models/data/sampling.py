"""Training batches: a window, a cuff reading some time before it, and what noise does to both."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from innpar.models.calibration.context import CONTEXT, FEATURES, RATE, context, features
from innpar.models.data.recordings import DataError, Windows

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CENTRE, SPREAD = 90.0, 25.0  # mmHg: the network's output is (mmHg - centre) / spread
CUFF_SECONDS = 30.0  # a cuff stands for this long before it is read
_LEAST_NOISE = 0.003
_LOG_AMPLITUDE = FEATURES.index("log_amplitude")
_FIRST_NOW = next(k for k, name in enumerate(CONTEXT) if name.startswith("now_"))
_CHANGE = slice(next(k for k, name in enumerate(CONTEXT) if name.startswith("change_")), _FIRST_NOW)
_NOW = slice(_FIRST_NOW, len(CONTEXT))

SECTION = ConfigDict(extra="forbid")
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0, le=1)]
Size = Annotated[Number, Field(ge=0)]


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """How training windows, cuff moments and disturbances are drawn.

    Attributes:
        temper: Exponent on a subject's number of windows; 0 draws subjects alike, 1 windows alike.
        weights: Factor by source folder; 1 where a source is not named.
        uncalibrated: Share of windows without a cuff reading.
        shortest: Shortest time since the reading, s.
        cuff_noise: SD of a reading's error, mmHg.
        moved: Share of calibrated windows whose pressures are moved together with the reading, so
            that the network learns to follow the reading and not to recognise the patient.
        move: SD of that move, mmHg.
        stretch: SD of the logarithm of the pulse pressure's factor in it.
        noise: Largest sensor noise, in SDs of the window.
        wander: Largest baseline wander, in SDs of the window.
        disturbed: Share of windows that get each of the two.
        amplitude_noise: SD of the error in the change of log amplitude.
        change_noise: SD of the error in what has changed since the reading, in training spreads.
        pulse_noise: Likewise in what the pulse is now. Few patients are easily told apart by their
            pulse; seen through a fog, it shows a change but not whose it is.
        hidden: Share of calibrated windows of which what the pulse is now is left out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    temper: Share = 0.5
    weights: dict[str, Size] = dataclasses.field(default_factory=dict)
    uncalibrated: Share = 0.3
    shortest: Annotated[Number, Field(gt=0)] = 60.0
    cuff_noise: Size = 2.0
    moved: Share = 0.8
    move: Size = 8.0
    stretch: Size = 0.2
    noise: Annotated[Number, Field(ge=_LEAST_NOISE)] = 0.15
    wander: Size = 1.0
    disturbed: Share = 0.5
    amplitude_noise: Size = 0.03
    change_noise: Size = 0.5
    pulse_noise: Size = 1.0
    hidden: Share = 0.7


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """ppg (n, window) of unit SD, abp (n, window) in network units, context (n, len(CONTEXT))."""

    ppg: Floats
    abp: Floats
    context: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Cuffs:
    """What a cuff read at each window would say: (n,) mmHg, and features there (n, K)."""

    sbp: Floats
    dbp: Floats
    features: npt.NDArray[np.float64]


def raw_buffers(windows: Windows, start: Ints, samples: int) -> Floats:
    """Return the raw PPG buffers (n, samples) that begin at `start`, each without its mean."""
    raw = windows.ppg[start[:, None] + np.arange(samples)]
    return np.asarray(raw - raw.mean(axis=1, keepdims=True))


def window_features(windows: Windows, matrix: Floats, step: int = 512) -> npt.NDArray[np.float64]:
    """Return the features (n, K) of every window, as conditioned by `matrix`."""
    found = np.empty((len(windows), len(FEATURES)))
    for k in range(0, len(windows), step):
        raw = raw_buffers(windows, windows.start[k : k + step], matrix.shape[0])
        found[k : k + step] = features(raw @ matrix)
    return found


def cuffs_of(windows: Windows, found: npt.NDArray[np.float64]) -> Cuffs:
    """Return the medians over the half minute that ends at each window."""
    values = np.column_stack((windows.sbp, windows.dbp, found)).astype(np.float64)
    medians = np.empty_like(values)
    first = 0
    for k in range(len(windows)):
        while (
            windows.record[first] != windows.record[k]
            or windows.time[first] < windows.time[k] - CUFF_SECONDS
        ):
            first += 1
        medians[k] = np.median(values[first : k + 1], axis=0)
    return Cuffs(medians[:, 0].astype(np.float32), medians[:, 1].astype(np.float32), medians[:, 2:])


class Sampler:
    """Draws batches; everything random comes from the generator it is handed.

    Raises:
        DataError: The weights leave nothing to draw.
    """

    def __init__(
        self, windows: Windows, matrix: npt.NDArray[np.float64], sampling: Sampling
    ) -> None:
        self.windows, self.sampling = windows, sampling
        self.matrix: Floats = matrix.astype(np.float32)
        self._guard = (matrix.shape[0] - matrix.shape[1]) // 2
        self._features = window_features(windows, self.matrix)
        self._cuffs = cuffs_of(windows, self._features)
        counts = np.bincount(windows.subject, minlength=len(windows.subjects))
        each = counts[windows.subject] ** (sampling.temper - 1.0)
        factor = np.array([sampling.weights.get(e.source, 1.0) for e in windows.entries])
        self._until = np.cumsum(each * factor[windows.record])
        if not self._until[-1] > 0:
            raise DataError("[sampling] weights leave no window to train on; raise one")
        self._record_first = np.searchsorted(windows.record, np.arange(len(windows.entries)))

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` windows with their contexts."""
        w, s = self.windows, self.sampling
        at = np.searchsorted(self._until, rng.random(count) * self._until[-1], side="right")
        cuff, seconds = self._cuff_moments(at, rng)
        window = self.matrix.shape[1]
        start = w.start[at] + rng.integers(-window // 2, window // 2, count)
        start = np.clip(start, w.first[at], w.last[at])
        raw = self._disturb(raw_buffers(w, start, self.matrix.shape[0]), at, rng)
        ppg = raw @ self.matrix
        now = features(ppg)
        now[:, _LOG_AMPLITUDE] += rng.normal(0.0, s.amplitude_noise, count)
        inside = start[:, None] + self._guard + np.arange(window)
        abp = w.abp[inside]
        sbp = self._cuffs.sbp[cuff] + rng.normal(0.0, s.cuff_noise, count)
        dbp = self._cuffs.dbp[cuff] + rng.normal(0.0, s.cuff_noise, count)
        known = (seconds >= s.shortest) & (rng.random(count) >= s.uncalibrated)
        abp, sbp, dbp = self._move(abp, sbp, dbp, known, rng)
        told = context(now, self._cuffs.features[cuff], sbp, dbp, seconds)
        self._blur(told, rng)
        told[~known] = 0.0
        scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
        return Batch(
            scaled.astype(np.float32),
            ((abp - CENTRE) / SPREAD).astype(np.float32),
            told,
        )

    def _blur(self, told: Floats, rng: np.random.Generator) -> None:
        """Put noise on what contexts (n, C) say of the pulse."""
        s, (count, entries) = self.sampling, told.shape
        noise = rng.standard_normal((count, entries - _CHANGE.start), dtype=np.float32)
        split = _NOW.start - _CHANGE.start
        told[:, _CHANGE] += np.float32(s.change_noise) * noise[:, :split]
        told[:, _NOW] += np.float32(s.pulse_noise) * noise[:, split:]
        told[rng.random(count) < s.hidden, _NOW] = 0.0

    def _cuff_moments(
        self, at: Ints, rng: np.random.Generator
    ) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Draw an earlier window of the same record: half by log time, half by time."""
        w, s = self.windows, self.sampling
        first = self._record_first[w.record[at]]
        longest = np.maximum((w.time[at] - w.time[first]).astype(np.float64), s.shortest)
        share = rng.random(len(at))
        by_log = s.shortest * (longest / s.shortest) ** share
        by_time = s.shortest + (longest - s.shortest) * share
        wanted = w.time[at] - np.where(rng.random(len(at)) < 0.5, by_log, by_time)
        cuff = np.empty_like(at)
        for k, (low, high) in enumerate(zip(first, at, strict=True)):
            cuff[k] = low + np.searchsorted(w.time[low:high], wanted[k])
        cuff = np.minimum(cuff, at)
        return cuff, (w.time[at] - w.time[cuff]).astype(np.float64)

    def _disturb(self, raw: Floats, at: Ints, rng: np.random.Generator) -> Floats:
        """Add sensor noise and baseline wander before conditioning, as a wrist would.

        The PPG's own gain needs no augmentation: windows are scaled to unit SD and only the change
        of amplitude since the reading is told, so a gain common to both cancels.
        """
        s, count = self.sampling, len(raw)
        unit = np.exp(self._features[at, _LOG_AMPLITUDE])[:, None].astype(np.float32)
        size = np.exp(rng.uniform(np.log(_LEAST_NOISE), np.log(s.noise), (count, 1)))
        size *= rng.random((count, 1)) < s.disturbed
        noise = rng.standard_normal(raw.shape, dtype=np.float32) * size.astype(np.float32)
        height = rng.uniform(0.0, s.wander, (count, 1)) * (rng.random((count, 1)) < s.disturbed)
        turns = rng.uniform(0.05, 0.45, (count, 1)) / RATE * np.arange(raw.shape[1])
        wander = height * np.sin(2 * np.pi * (turns + rng.random((count, 1))))
        return np.asarray(raw + unit * (noise + wander.astype(np.float32)))

    def _move(
        self,
        abp: Floats,
        sbp: npt.NDArray[np.float64],
        dbp: npt.NDArray[np.float64],
        known: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        s, count = self.sampling, len(abp)
        chosen = known & (rng.random(count) < s.moved)
        by = np.where(chosen, rng.normal(0.0, s.move, count), 0.0)
        factor = np.exp(np.where(chosen, rng.normal(0.0, s.stretch, count), 0.0))
        about = (sbp + 2 * dbp) / 3

        def moved(
            values: npt.NDArray[np.float64], shape: tuple[int, ...]
        ) -> npt.NDArray[np.float64]:
            centre, far, offset = about.reshape(shape), factor.reshape(shape), by.reshape(shape)
            return np.asarray(centre + (values - centre) * far + offset)

        wave, each = (count, 1), (count,)
        return moved(abp.astype(np.float64), wave), moved(sbp, each), moved(dbp, each)


def empty_context(count: int) -> Floats:
    """Return the context of `count` windows that are not calibrated."""
    return np.zeros((count, len(CONTEXT)), dtype=np.float32)
