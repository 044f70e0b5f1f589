"""Reference pressures of a recording: alignment with the PPG, beats, clipping."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.wave_pressures import beats_within

Floats = npt.NDArray[np.float64]

_SEARCH = 0.16  # s around the record's lag; under half a beat, so never off by a whole one
_SMOOTH = 24  # blocks of ten seconds over which the lag is assumed constant
_VERDICT_SECONDS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Beats:
    """Reference beats of a record, in increasing order; defined as live beats are.

    Attributes:
        foot: (n,) sample index of the foot before the systolic peak.
        peak: (n,) sample index of the systolic peak.
        sbp: (n,) mmHg, highest value of the beat.
        dbp: (n,) mmHg, value at the foot.
        map_: (n,) mmHg, mean from foot to foot.
    """

    foot: npt.NDArray[np.int64]
    peak: npt.NDArray[np.int64]
    sbp: Floats
    dbp: Floats
    map_: Floats


def plateaus(values: Floats, samples: int) -> npt.NDArray[np.bool_]:
    """Mark clipping (n,): runs of at least `samples` values at the minimum or maximum."""
    found = np.zeros(len(values), dtype=bool)
    if not np.isfinite(values).any():
        return found
    for extreme in (np.nanmin(values), np.nanmax(values)):
        edges = np.diff(np.concatenate(([0], (values == extreme).astype(np.int8), [0])))
        first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        for a, b in zip(first, end, strict=True):
            if b - a >= samples:
                found[a:b] = True
    return found


def local_lag(
    ppg: Floats, abp: Floats, good: npt.NDArray[np.bool_], lag: float, rate: float
) -> npt.NDArray[np.int64]:
    """Return the delay (n,) of the PPG behind the pressure at each sample, in samples.

    It is negative where the monitor delays the pressure more than the light.

    Cross-correlation over each good ten seconds, near the record's lag, averaged over some
    minutes: the monitor's delay drifts, and a single block may match a neighbouring beat.

    Args:
        ppg: (n,) any unit, NaN where missing.
        abp: (n,) mmHg, NaN where missing.
        good: One verdict per ten seconds.
        lag: Lag according to the index, s; 0.3 s is assumed where it is not finite.
        rate: Hz.
    """
    block, reach = round(_VERDICT_SECONDS * rate), round(_SEARCH * rate)
    centre = round((lag if np.isfinite(lag) else 0.3) * rate)
    lags = np.arange(centre - reach, centre + reach + 1)
    usable = np.flatnonzero(good[: len(ppg) // block])
    scores = np.zeros((len(good), len(lags)))
    for k in usable:
        x, y = ppg[k * block : (k + 1) * block], abp[k * block : (k + 1) * block]
        if not (np.isfinite(x).all() and np.isfinite(y).all()) or x.std() == 0 or y.std() == 0:
            continue
        scores[k] = _correlations(_detrend(x), _detrend(y), lags)
    before = _SMOOTH // 2
    padded = np.pad(scores, ((before, _SMOOTH - before - 1), (0, 0)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH, axis=0).mean(axis=-1)
    known = smooth.any(axis=1)
    if not known.any():
        return np.full(len(ppg), centre)
    best = np.where(known, lags[np.argmax(smooth, axis=1)], centre)
    best = np.interp(np.arange(len(good)), np.flatnonzero(known), best[known]).round()
    each = np.repeat(best, block).astype(np.int64)
    return np.concatenate((each, np.full(max(len(ppg) - len(each), 0), each[-1])))[: len(ppg)]


def _detrend(values: Floats) -> Floats:
    """Remove mean and linear trend; scale to unit SD."""
    along = np.linspace(-1.0, 1.0, len(values))
    centred = values - values.mean()
    centred = centred - along * (centred @ along) / (along @ along)
    return np.asarray(centred / max(float(centred.std()), 1e-12))


def _correlations(x: Floats, y: Floats, lags: npt.NDArray[np.int64]) -> Floats:
    """Return the covariance (lags,) of `x` delayed by each lag with `y`."""
    body = len(y) - int(np.abs(lags).max())
    later, earlier = np.maximum(lags, 0), np.maximum(-lags, 0)
    pairs = zip(later.tolist(), earlier.tolist(), strict=True)
    return np.array([x[a : a + body] @ y[b : b + body] for a, b in pairs]) / body


def beats_of(abp: Floats, good: npt.NDArray[np.bool_], typical_rate: float, rate: float) -> Beats:
    """Find the beats of an aligned pressure signal within its good segments.

    Args:
        abp: (n,) mmHg.
        good: (n,) True where the signal is usable.
        typical_rate: Median heart rate of the record, per minute; 75 is assumed if not plausible.
        rate: Sampling rate, Hz.
    """
    per_minute = typical_rate if np.isfinite(typical_rate) and typical_rate > 20 else 75.0
    apart = max(int(0.5 * 60.0 / per_minute * rate), int(0.27 * rate))
    edges = np.diff(np.concatenate(([0], good.astype(np.int8), [0])))
    parts: list[npt.NDArray[np.int64]] = []
    pressures: list[Floats] = []
    for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if b - a < 3 * apart:
            continue
        found, values = beats_within(abp[a:b], apart)
        parts.append(found + a)
        pressures.append(values)
    places = np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.int64)
    values = np.concatenate(pressures) if pressures else np.zeros((0, 3))
    return Beats(places[:, 0], places[:, 1], values[:, 0], values[:, 1], values[:, 2])


def window_pressures(
    beats: Beats, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> Floats:
    """Return the median SBP, DBP, MAP (n, 3), mmHg, of the beats with peaks in each [start, end).

    NaN where there are fewer than two beats.
    """
    low, high = np.searchsorted(beats.peak, start), np.searchsorted(beats.peak, end)
    values = np.stack((beats.sbp, beats.dbp, beats.map_), axis=1)
    found = np.full((len(start), 3), np.nan)
    for k, (a, b) in enumerate(zip(low, high, strict=True)):
        if b - a >= 2:
            found[k] = np.median(values[a:b], axis=0)
    return found
