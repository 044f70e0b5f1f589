"""A cuff reading as a check of the beats published before it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from innpar.devices import NS, Event
from innpar.stream.calibration.types import CuffReading
from innpar.stream.results import Beat

SECONDS = 10
"""Of beats before the reading's time, so that the pressure's own variation averages out."""
ENOUGH = 3
"""Beats needed for a comparison."""
MEMORY = 512
"""Beats kept, some minutes: a reading may arrive a while after it was taken."""


@dataclass(frozen=True, slots=True)
class _PublishedBeat:
    peak: int
    sbp: float
    dbp: float


@dataclass(slots=True)
class Checker:
    """Compares each reading with the calibrated beats before it, and keeps the mean error."""

    _beats: deque[_PublishedBeat] = field(init=False, default_factory=lambda: deque(maxlen=MEMORY))
    _checks: int = field(init=False, default=0)
    _sbp: float = field(init=False, default=0.0)
    _dbp: float = field(init=False, default=0.0)

    def push(self, beat: Beat) -> None:
        """Take a beat, in order."""
        if beat.sbp is None or beat.dbp is None or beat.calibration.state == "none":
            return
        self._beats.append(_PublishedBeat(beat.peak, beat.sbp, beat.dbp))

    def checked(self, cuff: Event) -> Event:
        """Return a ``cuff`` event with the comparison in its detail, if there are enough beats.

        ``check``: ``sbp`` and ``dbp`` are the median of the beats of the last `SECONDS` minus the
        reading, mmHg; ``beats`` is their number; ``n`` is the number of readings compared so far
        and ``mae`` the mean absolute error over these.
        """
        if "remembered" in cuff.detail:
            return cuff
        detail = {name: value for name, value in cuff.detail.items() if name != "check"}
        beats = [b for b in self._beats if cuff.start - SECONDS * NS < b.peak <= cuff.start]
        if len(beats) >= ENOUGH:
            detail["check"] = self._check(CuffReading.of(cuff), beats)
        return replace(cuff, detail=detail)

    def _check(self, reading: CuffReading, beats: list[_PublishedBeat]) -> dict[str, Any]:
        sbp = median(beat.sbp for beat in beats) - reading.sbp
        dbp = median(beat.dbp for beat in beats) - reading.dbp
        self._checks += 1
        self._sbp += abs(sbp)
        self._dbp += abs(dbp)
        mae = {"sbp": _tenth(self._sbp / self._checks), "dbp": _tenth(self._dbp / self._checks)}
        errors = {"sbp": _tenth(sbp), "dbp": _tenth(dbp)}
        return {**errors, "beats": len(beats), "n": self._checks, "mae": mae}


def _tenth(value: float) -> float:
    return round(float(value), 1)
