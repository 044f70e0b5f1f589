"""Summary statistics of a session's beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import numpy as np
import numpy.typing as npt

from innpar.stream.session.beat_table import EDGES, PRESSURES, BeatTable

Floats = npt.NDArray[np.float64]

BINS = 480
"""Largest number of bins in a trend, as many as 720 px can show."""
SHORTEST = 5.0
"""Shortest bin, s."""
FEW = 3
"""Least number of beats in a bin."""
LONGEST_BEAT = 3.0
"""Longest time that a beat represents, s."""
DIP = 0.10
"""Share by which the SBP of a dip is below the session's median."""
SUSTAINED = 60.0
"""Shortest dip, and averaging time of the lowest and highest pressures, s."""
NIGHT = (23, 7)
"""Hours at which the night begins and ends."""
ENOUGH = 1800.0
"""Least duration of beats for comparing night and day, s."""


@dataclass(frozen=True, slots=True)
class SessionTrend:
    """Medians over bins of time.

    Attributes:
        times: Middles of the bins, s since the Unix epoch.
        step: Length of a bin, s.
        values: Column → (bins,) medians; NaN in bins with too few beats.
    """

    times: Floats
    step: float
    values: dict[str, Floats]


def trend(beats: BeatTable, first: float, last: float) -> SessionTrend:
    """Return the course of a session between two times, s since the Unix epoch."""
    step = max(SHORTEST, (last - first) / BINS)
    bins = max(1, int(np.ceil((last - first) / step)))
    t, usable = beats.column("t"), beats.usable
    where = np.clip(((t - first) / step).astype(int), 0, bins - 1)
    values = {}
    for name in (*PRESSURES, *EDGES, "hr", "quality"):
        column = beats.column(name)
        counted = np.isfinite(column) & (usable | (name == "quality"))
        values[name] = _medians(where[counted], column[counted], bins)
    return SessionTrend(np.asarray(first + (np.arange(bins) + 0.5) * step), step, values)


def _medians(where: npt.NDArray[np.int64], values: Floats, bins: int) -> Floats:
    found = np.full(bins, np.nan)
    order = np.argsort(where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(bins + 1))
    for number in np.flatnonzero(np.diff(edges) >= FEW).tolist():
        found[number] = np.median(values[order[edges[number] : edges[number + 1]]])
    return found


def weights(beats: BeatTable) -> Floats:
    """Return the time that each beat represents, (beats,) s."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lasts = 60.0 / beats.column("hr")
    return np.where(np.isfinite(lasts), np.minimum(lasts, LONGEST_BEAT), 0.0)


RANGES: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "sbp": (
        (90, 120, 140, 160),
        ("below 90", "90 to 120", "120 to 140", "140 to 160", "160 and above"),
    ),
    "dbp": ((60, 80, 90, 100), ("below 60", "60 to 80", "80 to 90", "90 to 100", "100 and above")),
    "map": (
        (65, 75, 100, 110),
        ("below 65", "65 to 75", "75 to 100", "100 to 110", "110 and above"),
    ),
    "hr": (
        (50, 60, 100, 120),
        ("below 50", "50 to 60", "60 to 100", "100 to 120", "120 and above"),
    ),
}
"""Column → limits, mmHg or beats per minute, and names of the ranges between them."""


def in_range(beats: BeatTable, name: str) -> list[tuple[str, float]]:
    """Return (name, share of time) of each range; empty without usable beats."""
    limits, names = RANGES[name]
    usable = beats.usable & np.isfinite(beats.column(name))
    seconds, values = weights(beats)[usable], beats.column(name)[usable]
    if not seconds.sum() > 0:
        return []
    which = np.searchsorted(np.array(limits), values, side="right")
    shares = np.bincount(which, weights=seconds, minlength=len(names)) / seconds.sum()
    return list(zip(names, shares.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Extreme:
    """A time span with its mean pressures, mmHg; times in s since the Unix epoch."""

    start: float
    end: float
    sbp: float
    dbp: float
    map_: float


def sustained(beats: BeatTable, *, highest: bool) -> Extreme | None:
    """Return the minute with the lowest or highest mean MAP; None if beats cover no minute."""
    usable = beats.usable
    t = beats.column("t")[usable]
    columns = [beats.column(name)[usable] for name in PRESSURES]
    seconds = weights(beats)[usable]
    if not len(t):
        return None
    ends = np.searchsorted(t, t + SUSTAINED)
    sums = [np.concatenate([[0.0], np.cumsum(c * seconds)]) for c in columns]
    total = np.concatenate([[0.0], np.cumsum(seconds)])
    begin = np.arange(len(t))
    covered = total[ends] - total[begin]
    full = (covered >= 0.8 * SUSTAINED) & (t + SUSTAINED <= t[-1] + 2)
    if not full.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        sbp, dbp, map_ = ((s[ends] - s[begin]) / covered for s in sums)
    order = np.where(full, map_ if not highest else -map_, np.inf)
    at = int(np.argmin(order))
    return Extreme(
        float(t[at]), float(t[at]) + SUSTAINED, float(sbp[at]), float(dbp[at]), float(map_[at])
    )


def dips(course: SessionTrend) -> list[Extreme]:
    """Return time spans with the SBP a tenth below the session's median, lowest first."""
    sbp = course.values["sbp"]
    if not np.isfinite(sbp).any():
        return []
    low = np.isfinite(sbp) & (sbp < (1 - DIP) * np.nanmedian(sbp))
    where = np.flatnonzero(low)
    runs = np.split(where, np.flatnonzero(np.diff(where) > 1) + 1) if len(where) else []
    found = []
    for run in runs:
        start, end = (
            course.times[run[0]] - course.step / 2,
            course.times[run[-1]] + course.step / 2,
        )
        if end - start >= SUSTAINED:
            means = [float(np.nanmean(course.values[name][run])) for name in PRESSURES]
            found.append(Extreme(float(start), float(end), *means))
    return sorted(found, key=lambda dip: dip.sbp)


@dataclass(frozen=True, slots=True)
class Night:
    """Mean SBP, DBP and MAP by day and by night, mmHg."""

    day: tuple[float, float, float]
    night: tuple[float, float, float]

    @property
    def fall(self) -> float:
        """Share by which the SBP at night is below that by day."""
        return 1 - self.night[0] / self.day[0]


def night(beats: BeatTable, zone: tzinfo | None) -> Night | None:
    """Return means by day and night in a time zone; None with under half an hour of either."""
    usable = beats.usable
    t, seconds = beats.column("t")[usable], weights(beats)[usable]
    hours = np.array([datetime.fromtimestamp(time, zone).hour for time in t.tolist()])
    if not len(hours):
        return None
    dark = (hours >= NIGHT[0]) | (hours < NIGHT[1])
    if seconds[dark].sum() < ENOUGH or seconds[~dark].sum() < ENOUGH:
        return None

    def means(which: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
        sbp, dbp, map_ = (
            float(np.average(beats.column(name)[usable][which], weights=seconds[which]))
            for name in PRESSURES
        )
        return sbp, dbp, map_

    return Night(means(~dark), means(dark))


def percentiles(beats: BeatTable, name: str, at: Sequence[float] = (5, 50, 95)) -> list[float]:
    """Return percentiles of a column over the usable beats; NaN without any."""
    column = beats.column(name)[beats.usable]
    column = column[np.isfinite(column)]
    return (
        [float(v) for v in np.percentile(column, at)] if len(column) else [float("nan")] * len(at)
    )
