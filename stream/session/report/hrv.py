"""Pulse rate variability by NeuroKit2, in segments of five minutes.

Makowski et al., NeuroKit2: A Python toolbox for neurophysiological signal processing. Behav Res
Methods 53 (2021) 1689, doi 10.3758/s13428-020-01516-y. Five minutes: Task Force of the ESC and
NASPE, Heart rate variability. Circulation 93 (1996) 1043, doi 10.1161/01.CIR.93.5.1043
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from innpar.stream.session.beat_table import BeatTable

SEGMENT = 300.0
"""Length of a segment, s."""
COVERED = 0.8
"""Share of a segment that usable intervals must cover."""
SHORTEST, LONGEST = 300.0, 2000.0
"""Range of intervals used, ms."""
BREAK = LONGEST / 1000
"""Time without a usable interval, s, across which nothing is computed: the spectrum would be that
of the bridge."""
MEASURES = {
    "HRV_MeanNN": ("mean interval", "ms"),
    "HRV_SDNN": ("SDNN", "ms"),
    "HRV_RMSSD": ("RMSSD", "ms"),
    "HRV_pNN50": ("pNN50", "%"),
    "HRV_LF": ("LF", "ms²"),
    "HRV_HF": ("HF", "ms²"),
    "HRV_LFHF": ("LF/HF", ""),
}
"""Name in NeuroKit2 → name and unit in the report."""


@dataclass(frozen=True, slots=True)
class Variability:
    """Medians and ranges over the segments.

    Attributes:
        segments: Number of segments.
        values: (name, unit, lowest, median, highest) of every measure.
        why: Reason for the absence of values; empty with values.
    """

    segments: int
    values: list[tuple[str, str, float, float, float]]
    why: str = ""


def variability(beats: BeatTable) -> Variability:
    """Return the pulse rate variability, or the reason for its absence."""
    try:
        import neurokit2 as nk  # type: ignore[import-untyped]  # it ships none
    except ImportError:
        return Variability(0, [], "needs NeuroKit2: scripts/setup physiology")
    ends, lasts = _intervals(beats)
    runs = np.split(np.arange(len(ends)), np.flatnonzero(_waits(ends, lasts) > BREAK) + 1)
    found = []
    for run in runs:
        begin = ends[run[0]] - lasts[run[0]] / 1000 if len(run) else 0.0
        for start in np.arange(begin, ends[run[-1]] - SEGMENT + 1, SEGMENT) if len(run) else ():
            inside = run[(ends[run] >= start) & (ends[run] < start + SEGMENT)]
            if lasts[inside].sum() < COVERED * SEGMENT * 1000:
                continue
            intervals = {"RRI": lasts[inside], "RRI_Time": ends[inside] - start}
            with warnings.catch_warnings():
                # NeuroKit2 warns about measures that need longer segments; the report has none.
                warnings.simplefilter("ignore")
                power = nk.hrv_frequency(intervals, normalize=False)
                measured = {**nk.hrv_time(intervals).iloc[0], **power.iloc[0]}
            found.append([float(measured[name]) for name in MEASURES])
    if not found:
        return Variability(0, [], _absence(ends, lasts, len(runs)))
    values = []
    for (name, unit), column in zip(MEASURES.values(), np.array(found).T, strict=True):
        low, middle, high = (float(f(column)) for f in (np.min, np.median, np.max))
        values.append((name, unit, low, middle, high))
    return Variability(len(found), values)


def _intervals(beats: BeatTable) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return end, s since the epoch, and length, ms, of the intervals between usable beats."""
    peaks, good = beats.column("peak"), beats.usable
    lasts = np.diff(peaks) * 1000
    follows = good[1:] & good[:-1] & (lasts > SHORTEST) & (lasts < LONGEST)
    return peaks[1:][follows], lasts[follows]


def _waits(
    ends: npt.NDArray[np.float64], lasts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the time, s, from the end of each interval to the start of the next."""
    waits: npt.NDArray[np.float64] = ends[1:] - lasts[1:] / 1000 - ends[:-1]
    return waits


def _absence(ends: npt.NDArray[np.float64], lasts: npt.NDArray[np.float64], runs: int) -> str:
    minutes = f"{SEGMENT / 60:.0f} minutes"
    long = len(ends) > 0 and ends[-1] - ends[0] + lasts[0] / 1000 > SEGMENT
    if long and runs > 1 and lasts.sum() >= COVERED * SEGMENT * 1000:
        return f"no {minutes} are without a gap of more than {BREAK:g} s between usable beats"
    return f"no {minutes} are covered to {COVERED:.0%} by usable beats"
