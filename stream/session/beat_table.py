"""Beats of a session as columns; a day takes some megabytes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.stream.calibration.check import ENOUGH, SECONDS

PRESSURES = ("sbp", "dbp", "map")
EDGES = tuple(f"{name}_{edge}" for name in PRESSURES for edge in ("low", "high"))
COLUMNS = ("t", "peak", *PRESSURES, "pp", "hr", "quality", "valid", *EDGES, "level", "calibrated")


@dataclass(slots=True)
class BeatTable:
    """Published beats in order.

    Attributes:
        reasons: Reason for withholding pressures → number of beats.
        states: State of the calibration → number of beats.
        sources: ``live``, ``replay`` or ``simulated`` → number of beats.
        breaks: Number of gaps in the sequence numbers.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    breaks: int = 0
    _columns: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in COLUMNS}
    )
    _seq: int | None = None

    def __len__(self) -> int:
        return len(self._columns["t"])

    def add(self, beat: Mapping[str, Any]) -> None:
        """Add a ``bp-beat/1`` message; missing numbers become NaN."""
        interval = beat.get("interval") or {}
        values = {name: beat.get(name) for name in COLUMNS}
        for name in PRESSURES:
            low_high = interval.get(name) or (None, None)
            values[f"{name}_low"], values[f"{name}_high"] = low_high
        values["level"] = interval.get("level")
        values["peak"] = _peak(beat)
        state = str((beat.get("calibration") or {}).get("state"))
        values["calibrated"] = state not in ("None", "none")
        for name, column in self._columns.items():
            value = values[name]
            column.append(float("nan") if value is None else float(value))
        self.reasons.update(str(reason) for reason in beat.get("reasons") or ())
        self.states[state] += 1
        self.sources[str(beat.get("source"))] += 1
        seq = beat.get("seq")
        if isinstance(seq, int):
            # The end of a run is no loss; a sequence number missing between two beats is.
            self.breaks += self._seq is not None and seq != self._seq + 1
            self._seq = seq

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return one of `COLUMNS`, (beats,): times in s since the epoch, mmHg, beats per minute.

        ``peak`` is ``t`` interpolated between the waveform's samples, for beat-to-beat intervals.
        """
        return np.array(self._columns[name], dtype=np.float64)

    def check(self, at: float, sbp: float, dbp: float) -> tuple[float, float] | None:
        """Return the errors of SBP and DBP, mmHg, just before a cuff reading; see `Checker`.

        Args:
            at: Time of the reading, s since the Unix epoch.
            sbp: Systolic pressure of the reading, mmHg.
            dbp: Diastolic pressure of the reading, mmHg.

        Returns:
            Estimate minus reading; None with too few calibrated beats before it.
        """
        t = self.column("t")
        near = self.usable & (self.column("calibrated") == 1) & (t > at - SECONDS) & (t <= at)
        if near.sum() < ENOUGH:
            return None
        estimates = (float(np.median(self.column(name)[near])) for name in ("sbp", "dbp"))
        sbp_error, dbp_error = (a - b for a, b in zip(estimates, (sbp, dbp), strict=True))
        return sbp_error, dbp_error

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(beats,) whether each beat has pressures."""
        return np.asarray((self.column("valid") == 1) & np.isfinite(self.column("sbp")))


def _peak(beat: Mapping[str, Any]) -> float | None:
    """Return the vertex of the parabola through the highest samples, s since the Unix epoch."""
    time, abp = beat.get("t"), beat.get("abp") or {}
    samples, rate, start = abp.get("samples"), abp.get("rate"), abp.get("start")
    if time is None or not samples or not rate or start is None:
        return None if time is None else float(time)
    at = round((time - start) * rate)
    if not 0 < at < len(samples) - 1:
        return float(time)
    left, middle, right = samples[at - 1 : at + 2]
    bend = left - 2 * middle + right
    off = 0.5 * float(left - right) / bend if bend < 0 else 0.0
    return float(time) + max(-0.5, min(0.5, off)) / float(rate)
