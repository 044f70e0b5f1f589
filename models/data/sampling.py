"""Training batches: windows, earlier cuff readings, and augmentation of both."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from innpar.models.calibration.context import CONTEXT, FEATURES, context, features
from innpar.models.data.recordings import Windows
from innpar.models.errors import DataError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CENTRE, SPREAD = 90.0, 25.0  # mmHg: the network's output is (mmHg - centre) / spread
CUFF_SECONDS = 30.0  # a cuff reading is the median over this long before it
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
    """Section ``[sampling]``: drawing of training windows, cuff readings and augmentation.

    Attributes:
        temper: Exponent on a subject's number of windows: with 0 every subject, with 1 every window
            is equally likely.
        weights: Factor by source folder; 1 for sources not listed.
        uncalibrated: Share of windows without a cuff reading.
        shortest: Shortest time since the reading, s.
        cuff_noise: SD of a reading's error, mmHg.
        moved: Share of calibrated windows whose pressures are shifted together with the reading, so
            that the network follows the reading instead of recognising the patient.
        move: SD of that shift, mmHg.
        stretch: SD of the log of the accompanying factor on the pulse pressure.
        noise: Largest sensor noise, in SDs of the window.
        wander: Largest baseline wander, in SDs of the window.
        disturbed: Share of windows with noise, and share with wander.
        amplitude_noise: SD of the error in the change of log amplitude.
        change_noise: SD of the noise on the context's changes since the reading, in training
            spreads.
        pulse_noise: SD of the noise on the context's present pulse, likewise. With few patients a
            network recognises each by the pulse; noise hides the identity but not a change.
        hidden: Share of calibrated windows whose context omits the present pulse.
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
    """One training batch.

    Attributes:
        ppg: (n, window) of unit SD.
        abp: (n, window) network units, ``(mmHg - CENTRE) / SPREAD``.
        context: (n, len(CONTEXT)).
    """

    ppg: Floats
    abp: Floats
    context: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Cuffs:
    """Simulated cuff readings, one at each window.

    Attributes:
        sbp: (n,) mmHg.
        dbp: (n,) mmHg.
        features: (n, len(FEATURES)) medians over the same time.
    """

    sbp: Floats
    dbp: Floats
    features: npt.NDArray[np.float64]


def raw_buffers(windows: Windows, start: Ints, samples: int) -> Floats:
    """Return the raw PPG buffers (n, samples) from `start` (n,), each with its mean subtracted."""
    raw = windows.ppg[start[:, None] + np.arange(samples)]
    return np.asarray(raw - raw.mean(axis=1, keepdims=True))


def window_features(windows: Windows, matrix: Floats, step: int = 512) -> npt.NDArray[np.float64]:
    """Return the features (n, len(FEATURES)) of every window.

    Args:
        windows: Windows.
        matrix: Conditioning, (buffer, window).
        step: Windows per batch.
    """
    found = np.empty((len(windows), len(FEATURES)))
    for k in range(0, len(windows), step):
        raw = raw_buffers(windows, windows.start[k : k + step], matrix.shape[0])
        found[k : k + step] = features(raw @ matrix, windows.rate)
    return found


def cuffs_of(windows: Windows, found: npt.NDArray[np.float64]) -> Cuffs:
    """Return the medians over the half minute that ends at each window.

    Args:
        windows: Windows.
        found: (n, K) features of the windows.
    """
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
    """Source of training batches; all randomness comes from the generator passed to `draw`.

    Args:
        windows: Training windows.
        matrix: Conditioning, (buffer, window).
        sampling: Configuration.

    Raises:
        DataError: Every window has weight zero.
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
        now = features(ppg, w.rate)
        now[:, _LOG_AMPLITUDE] += rng.normal(0.0, s.amplitude_noise, count)
        inside = start[:, None] + self._guard + np.arange(window)
        abp = w.abp[inside]
        sbp = self._cuffs.sbp[cuff] + rng.normal(0.0, s.cuff_noise, count)
        dbp = self._cuffs.dbp[cuff] + rng.normal(0.0, s.cuff_noise, count)
        known = (seconds >= s.shortest) & (rng.random(count) >= s.uncalibrated)
        abp, sbp, dbp = self._move(abp, sbp, dbp, known, rng)
        contexts = context(now, self._cuffs.features[cuff], sbp, dbp, seconds)
        self._blur(contexts, rng)
        contexts[~known] = 0.0
        scaled = ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9)
        return Batch(
            scaled.astype(np.float32),
            ((abp - CENTRE) / SPREAD).astype(np.float32),
            contexts,
        )

    def _blur(self, contexts: Floats, rng: np.random.Generator) -> None:
        """Add noise to the pulse entries of `contexts` (n, len(CONTEXT)), in place."""
        s, (count, entries) = self.sampling, contexts.shape
        noise = rng.standard_normal((count, entries - _CHANGE.start), dtype=np.float32)
        split = _NOW.start - _CHANGE.start
        contexts[:, _CHANGE] += np.float32(s.change_noise) * noise[:, :split]
        contexts[:, _NOW] += np.float32(s.pulse_noise) * noise[:, split:]
        contexts[rng.random(count) < s.hidden, _NOW] = 0.0

    def _cuff_moments(
        self, at: Ints, rng: np.random.Generator
    ) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Draw for each window `at` an earlier one of its record; return it and the time since, s.

        The time is log-uniform for half of the windows and uniform for the others.
        """
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
        """Add sensor noise and baseline wander to raw buffers (n, buffer), before conditioning.

        The PPG's gain needs no augmentation: windows are scaled to unit SD, and the context holds
        only the change of amplitude since the reading, in which a common gain cancels.
        """
        s, count = self.sampling, len(raw)
        unit = np.exp(self._features[at, _LOG_AMPLITUDE])[:, None].astype(np.float32)
        size = np.exp(rng.uniform(np.log(_LEAST_NOISE), np.log(s.noise), (count, 1)))
        size *= rng.random((count, 1)) < s.disturbed
        noise = rng.standard_normal(raw.shape, dtype=np.float32) * size.astype(np.float32)
        height = rng.uniform(0.0, s.wander, (count, 1)) * (rng.random((count, 1)) < s.disturbed)
        turns = rng.uniform(0.05, 0.45, (count, 1)) / self.windows.rate * np.arange(raw.shape[1])
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
        """Shift and stretch pressures and reading together, mmHg, for a share of the windows."""
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
    """Return the context (count, len(CONTEXT)) of uncalibrated windows: zeros."""
    return np.zeros((count, len(CONTEXT)), dtype=np.float32)
