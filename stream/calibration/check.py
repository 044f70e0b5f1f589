"""A cuff reading as a check of what has been published, before it changes anything."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from innpar.devices import NS, Event
from innpar.stream.results import Beat

SECONDS = 10
"""Of beats before the reading's time: what a person's own pressure sways by evens out."""
ENOUGH = 3
"""Beats without which nothing can be said."""
MEMORY = 512
"""Beats kept, some minutes: a reading may be told of a while after it was taken."""


@dataclass(frozen=True, slots=True)
class _PublishedBeat:
    peak: int
    sbp: float
    dbp: float


@dataclass(slots=True)
class Checker:
    """Compares each reading with the calibrated beats before it, and keeps the wearer's score."""

    _beats: deque[_PublishedBeat] = field(init=False, default_factory=lambda: deque(maxlen=MEMORY))
    _checks: int = field(init=False, default=0)
    _sbp: float = field(init=False, default=0.0)
    _dbp: float = field(init=False, default=0.0)

    def push(self, beat: Beat) -> None:
        """Take a beat, in order."""
        if beat.sbp is None or beat.dbp is None or beat.calibration.state == "none":
            return
        self._beats.append(_PublishedBeat(beat.peak, beat.sbp, beat.dbp))

    def told(self, cuff: Event) -> Event:
        """Return a ``cuff`` event with what it says of us in its detail, where it says anything.

        ``check``: ``sbp`` and ``dbp`` are the median of the beats of the last `SECONDS` minus the
        reading, mmHg; ``beats`` how many they were; ``n`` how many readings have been checks so far
        and ``mae`` the mean absolute error over these.
        """
        if "remembered" in cuff.detail:
            return cuff
        detail = {name: value for name, value in cuff.detail.items() if name != "check"}
        beats = [b for b in self._beats if cuff.start - SECONDS * NS < b.peak <= cuff.start]
        if len(beats) >= ENOUGH:
            detail["check"] = self._check(cuff, beats)
        return replace(cuff, detail=detail)

    def _check(self, cuff: Event, beats: list[_PublishedBeat]) -> dict[str, Any]:
        sbp = median(beat.sbp for beat in beats) - float(cuff.detail["sbp"])
        dbp = median(beat.dbp for beat in beats) - float(cuff.detail["dbp"])
        self._checks += 1
        self._sbp += abs(sbp)
        self._dbp += abs(dbp)
        mae = {"sbp": _tenth(self._sbp / self._checks), "dbp": _tenth(self._dbp / self._checks)}
        errors = {"sbp": _tenth(sbp), "dbp": _tenth(dbp)}
        return {**errors, "beats": len(beats), "n": self._checks, "mae": mae}


def _tenth(value: float) -> float:
    return round(float(value), 1)
