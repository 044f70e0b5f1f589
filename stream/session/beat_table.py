"""A session's beats as columns: a day of them in some megabytes."""

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
    """Published beats in their order.

    Attributes:
        reasons: How many beats have each reason against them.
        states: How many each state of the calibration.
        breaks: Places where a number in the sequence is missing.
        sources: How many beats say live, replay or simulated.
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
        """Take a ``bp-beat/1`` message; numbers it does not have become NaN."""
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
            # Beats end where the run did; a number left out between two of them is a loss.
            self.breaks += self._seq is not None and seq != self._seq + 1
            self._seq = seq

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return one of `COLUMNS`, (beats,): times in s since the Unix epoch, mmHg, beats a minute.

        ``peak`` is ``t`` between two samples of the waveform, for intervals from beat to beat.
        """
        return np.array(self._columns[name], dtype=np.float64)

    def check(self, at: float, sbp: float, dbp: float) -> tuple[float, float] | None:
        """Return by how much SBP and DBP were above a reading before it; see `Checker`.

        Args:
            at: Of the reading, s since the Unix epoch.
            sbp: mmHg.
            dbp: mmHg.
        """
        t = self.column("t")
        near = self.usable & (self.column("calibrated") == 1) & (t > at - SECONDS) & (t <= at)
        if near.sum() < ENOUGH:
            return None
        ours = (float(np.median(self.column(name)[near])) for name in ("sbp", "dbp"))
        above_sbp, above_dbp = (a - b for a, b in zip(ours, (sbp, dbp), strict=True))
        return above_sbp, above_dbp

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Which beats have pressures, (beats,)."""
        return np.asarray((self.column("valid") == 1) & np.isfinite(self.column("sbp")))


def _peak(beat: Mapping[str, Any]) -> float | None:
    """Return where the parabola through the highest samples has its vertex, s since the epoch."""
    time, told = beat.get("t"), beat.get("abp") or {}
    samples, rate, start = told.get("samples"), told.get("rate"), told.get("start")
    if time is None or not samples or not rate or start is None:
        return None if time is None else float(time)
    at = round((time - start) * rate)
    if not 0 < at < len(samples) - 1:
        return float(time)
    left, middle, right = samples[at - 1 : at + 2]
    bend = left - 2 * middle + right
    off = 0.5 * float(left - right) / bend if bend < 0 else 0.0
    return float(time) + max(-0.5, min(0.5, off)) / float(rate)
