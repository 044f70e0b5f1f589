"""Pulse rate variability by NeuroKit2, in segments of five minutes.

Makowski et al., NeuroKit2: A Python toolbox for neurophysiological signal processing. Behav Res
Methods 53 (2021) 1689, doi 10.3758/s13428-020-01516-y. Five minutes: Task Force of the ESC and
NASPE, Heart rate variability. Circulation 93 (1996) 1043, doi 10.1161/01.CIR.93.5.1043
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from innpar.stream.session.beat_table import BeatTable

SEGMENT = 300.0
"""Length of a segment, s."""
COVERED = 0.8
"""Share of a segment that usable intervals must cover."""
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
    peaks = beats.column("peak")
    good = beats.usable
    follows = good[1:] & good[:-1]
    lasts = np.diff(peaks) * 1000
    follows &= (lasts > 300) & (lasts < 2000)
    found = []
    for start in np.arange(peaks[0], peaks[-1] - SEGMENT + 1, SEGMENT) if len(peaks) > 1 else ():
        inside = follows & (peaks[1:] >= start) & (peaks[1:] < start + SEGMENT)
        if lasts[inside].sum() < COVERED * SEGMENT * 1000:
            continue
        intervals = {"RRI": lasts[inside], "RRI_Time": peaks[1:][inside] - start}
        with warnings.catch_warnings():
            # NeuroKit2 warns about measures that need longer segments; the report has none.
            warnings.simplefilter("ignore")
            power = nk.hrv_frequency(intervals, normalize=False)
            measured = {**nk.hrv_time(intervals).iloc[0], **power.iloc[0]}
        found.append([float(measured[name]) for name in MEASURES])
    if not found:
        text = f"no {SEGMENT / 60:.0f} minutes are covered to {COVERED:.0%} by usable beats"
        return Variability(0, [], text)
    values = []
    for (name, unit), column in zip(MEASURES.values(), np.array(found).T, strict=True):
        low, middle, high = (float(f(column)) for f in (np.min, np.median, np.max))
        values.append((name, unit, low, middle, high))
    return Variability(len(found), values)
