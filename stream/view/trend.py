"""Trend of a wearer's pressures at three resolutions, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NAMES = ("sbp", "map", "dbp")
COLUMNS = len(NAMES) * 3
"""Values of a row: the three pressures, then lower and upper limit of each, mmHg."""

_NONE = -(2**15)
_ROW = np.dtype([("n", np.int64), ("t", np.float64), ("valid", np.bool_), ("v", np.int16, COLUMNS)])


class TrendLevel:
    """Medians of the valid beats of consecutive bins.

    Args:
        step: Length of a bin, s.
        capacity: Rows kept.
        grows: Whether the step doubles when the rows are full; otherwise the oldest row goes.
    """

    def __init__(self, step: float, capacity: int, *, grows: bool = False) -> None:
        self.step = step
        self._grows = grows
        self._rows = np.zeros(capacity, _ROW)
        self._used = 0
        self._bin = -1
        self._values: list[Sequence[float]] = []
        self._rebuilt = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._rows.nbytes

    def push(self, t: float, values: Sequence[float] | None, n: int) -> None:
        """Add a beat.

        Args:
            t: Time of its systolic peak, s since the Unix epoch, not before the last one.
            values: Of a row, NaN where unknown; None for a beat without pressures.
            n: Number of the message that brings it.
        """
        number = int(t // self.step)
        if self._bin >= 0 and number > self._bin:
            self._close(n)
        self._bin = number
        if values is not None:
            self._values.append(values)

    def after(self, n: int) -> dict[str, Any] | None:
        """Return the rows that were closed by messages after `n`, as JSON; None without any."""
        replace = n == 0 or self._rebuilt > n
        rows = self._rows[: self._used]
        if not replace:
            rows = rows[rows["n"] > n]
        if not len(rows) and not replace:
            return None
        listed = [[round(float(row["t"]), 3), *map(_tenth, row["v"])] for row in rows]
        return {"step": self.step, "replace": replace, "rows": listed}

    def _close(self, n: int) -> None:
        if self._used == len(self._rows):
            self._make_room(n)
        row = self._rows[self._used]
        row["n"], row["t"] = n, (self._bin + 0.5) * self.step
        row["valid"] = bool(self._values)
        row["v"] = _NONE
        if self._values:
            row["v"] = _packed(np.median(np.array(self._values, float), axis=0))
        self._used += 1
        self._values = []

    def _make_room(self, n: int) -> None:
        if not self._grows:
            self._rows[:-1] = self._rows[1:]
            self._used -= 1
            return
        self.step *= 2
        self._rebuilt = n
        self._bin //= 2
        rows = self._rows[: self._used].copy()
        bins = (rows["t"] // self.step).astype(np.int64)
        self._used = 0
        for number in np.unique(bins):
            pair = rows[bins == number]
            known = pair[pair["valid"]]
            row = self._rows[self._used]
            row["n"], row["t"] = n, (number + 0.5) * self.step
            row["valid"] = bool(len(known))
            row["v"] = np.round(known["v"].mean(axis=0)) if len(known) else _NONE
            self._used += 1


class PressureTrend:
    """The levels of one wearer: 15 minutes, one hour, and eight hours or everything."""

    def __init__(self) -> None:
        self._levels = {
            "15 min": TrendLevel(4.0, 240),
            "1 h": TrendLevel(15.0, 245),
            "all": TrendLevel(60.0, 400, grows=True),
        }
        self._newest = float("-inf")

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(level.size for level in self._levels.values())

    def push(self, beat: Mapping[str, Any], n: int) -> None:
        """Add a ``bp-beat/1`` message; one that is older than the last is left out."""
        t = float(beat["t"])
        if t < self._newest:
            return
        self._newest = t
        values = _values(beat)
        for level in self._levels.values():
            level.push(t, values, n)

    def after(self, n: int) -> dict[str, Any]:
        """Return the rows of every level after message `n`."""
        found = {name: level.after(n) for name, level in self._levels.items()}
        return {name: rows for name, rows in found.items() if rows is not None}


def _values(beat: Mapping[str, Any]) -> Sequence[float] | None:
    pressures = [beat[name] for name in NAMES if beat.get(name) is not None]
    if not beat.get("valid") or len(pressures) < len(NAMES):
        return None
    interval = beat.get("interval") or {}
    limits = [side for name in NAMES for side in interval.get(name) or (np.nan, np.nan)]
    return [float(value) for value in (*pressures, *limits)]


def _packed(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.where(np.isnan(values), _NONE, np.round(np.clip(values, 0, 3000) * 10))


def _tenth(value: int) -> float | None:
    return None if value == _NONE else round(float(value) / 10, 1)
