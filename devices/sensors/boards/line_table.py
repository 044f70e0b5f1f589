"""Rows of numbers of one shape: which columns are light, which is the time, and when each was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.sensors.boards.line_format import UNITS, unit_of_time
from innpar.devices.timing.column_names import kind_of_name
from innpar.devices.timing.counted import CountedTrack
from innpar.devices.timing.dejitter import Dejitter, StampRun, whole_steps
from innpar.devices.timing.live_columns import LiveColumns, choose_live, needs_shape
from innpar.devices.timing.plausible_light import InputColumn
from innpar.devices.timing.timeline import Hole, PlacedSamples
from innpar.devices.timing.track import Rows, SignalTrack, stated

MEASURE = 2 * NS
"""Time for which samples are held back to measure an unknown rate, ns."""

STUCK = 8 * NS
"""Time after which samples are counted instead, if the sender's time has shown no rate, ns."""

KNOWN = (25, 32, 50, 60, 64, 75, 100, 125, 128, 200, 250, 256, 400, 500, 512, 800, 1000)
"""Common rates, Hz; a measured rate close to one is taken as that."""

WRAP = 1 << 32
"""Value at which the counters of millis() and micros() begin again."""

WRAPPING = (UNITS["ms"], UNITS["us"])
LATEST = 9e18
"""Latest time, ns, that fits in 64 bits."""


class LineTable:
    """Rows of one shape: the meaning of their columns, and their times."""

    def __init__(
        self,
        device: str,
        labels: Sequence[str],
        rate: float | None,
        time: str | None,
        unit: str | None,
        keep: Sequence[str],
        *,
        judged: bool,
    ) -> None:
        names = [label or f"ppg{i}" for i, label in enumerate(labels)]
        self._time = _column(time, names)
        units = [unit_of_time(label) if label else None for label in labels]
        if time is None:
            self._time = next((i for i, found in enumerate(units) if found is not None), None)
        named = "ms" if self._time is None else units[self._time]
        unit = unit or ("ms" if named is None else named)
        self._unit = UNITS.get(unit)  # None: to be measured
        kept = [c for c in (_column(k, names) for k in keep) if c is not None]
        others = [i for i in range(len(names)) if i != self._time]
        if judged and not kept and any(labels):
            others = _light(others, names)
        self.columns = kept or others
        self._asked = bool(kept)
        self._written = [label if i != self._time else "t" for i, label in enumerate(labels)]
        empty = np.empty(0)
        shapes = [InputColumn(label, empty) for label in self._written]
        self.known = not judged or not needs_shape(shapes, [] if kept else self.columns)
        self._used = LiveColumns(tuple(self.columns))
        if len(self.columns) < len(names) and not any(labels):
            names = [
                f"ppg{i - (self._time is not None and i > self._time)}" for i in range(len(names))
            ]
        self._names = names
        self._rate = rate
        self._device = device
        self._begin()

    @property
    def time(self) -> int | None:
        """Index of the column with the sender's time; None if there is none."""
        return self._time

    def judge(self, values: Rows, rate: float) -> str:
        """Choose the columns by shape; return the reasons if none may be light.

        Args:
            values: (rows, columns) of all columns.
            rate: Hz; NaN if unknown.
        """
        shapes = [InputColumn(name, values[:, c]) for c, name in enumerate(self._written)]
        used = choose_live(shapes, self.columns, rate)
        if self._asked:
            used = LiveColumns(tuple(self.columns), used.axes, used.scale)
        if not used.light:
            return ", ".join(dict.fromkeys(used.why_not.values()))
        self._used, self.known, self.columns = used, True, used.all
        self._begin()
        return ""

    def split(self, items: Sequence[Chunk | Event]) -> list[Chunk | Event]:
        """Return items with light and acceleration in chunks of their own."""
        return self._used.split(items)

    def _begin(self) -> None:
        """Start with no samples, now that the columns are known."""
        self._labels = [self._names[c] for c in self.columns]
        self._track = SignalTrack(self._device, self._labels)  # if the sender sends the time
        rate = self._rate
        self._counted = CountedTrack(self._device, self._labels, rate) if rate else None
        self._untimed: list[tuple[Rows, int]] = []
        self._anew()

    def _anew(self) -> None:
        self._dejitter = Dejitter(self._rate) if self._rate else None
        self._first = 0  # arrival of the first rows, ns
        self._early: list[int] = []
        self._held: list[tuple[Rows, int]] = []
        self._rows: Rows = np.empty((0, len(self.columns)))
        self._before: int | None = None
        self._round = 0
        self._placed: int | None = None
        self._came = np.empty(0, np.int64)  # arrivals of these rows, ns

    def length(self, rows: int) -> int:
        """Return the duration of a number of rows, ns, at 100 Hz while the rate is unknown."""
        return round(rows * NS / (self._rate or 100.0))

    def interrupted(self, why: str, relinked: bool) -> None:
        (self._counted or self._track).interrupted(why)
        if relinked:
            self._anew()
            self._track.anew()
            if self._counted is not None:
                self._counted.begin()

    def push(self, values: Rows, arrival: int) -> list[Chunk | Event]:
        """Take (rows, columns) numbers as read."""
        rows = values[:, self.columns]
        if self._time is not None and self._stuck(arrival):
            self._time = None
            self._begin()
        if self._time is not None and self._unit is None:
            self._untimed.append((values, arrival))
            return self._timed() if arrival - self._untimed[0][1] >= MEASURE else []
        if self._time is not None:
            self._rows = np.concatenate([self._rows, rows])
            self._came = np.concatenate([self._came, np.full(len(rows), arrival, np.int64)])
            return self._give(self._place(self._stamps(values[:, self._time])))
        if self._counted is not None:
            return self._counted.push(rows, arrival)
        self._held.append((rows, arrival))
        return self._start() if arrival - self._held[0][1] >= MEASURE else []

    def _stuck(self, arrival: int) -> bool:
        """Return whether the sender's time has not shown a rate for `STUCK`: it does not run."""
        self._first = self._first or arrival
        return self._dejitter is None and arrival - self._first > STUCK

    def _timed(self) -> list[Chunk | Event]:
        """Measure the unit of the sender's time against the arrivals, and go on with it."""
        held, self._untimed = self._untimed, []
        span = (held[-1][1] - held[0][1]) / NS
        passed = held[-1][0][-1, self._time] - held[0][0][-1, self._time]
        near = (
            {unit: abs(math.log(passed * UNITS[unit] / NS / span)) for unit in UNITS}
            if (span > 0 and passed > 0)
            else {"ms": 0.0}
        )
        self._unit = UNITS[min(near, key=near.__getitem__)]
        return [item for values, arrival in held for item in self.push(values, arrival)]

    def flush(self) -> list[Chunk | Event]:
        if self._untimed:
            return self._timed() + self.flush()
        if self._time is not None:
            early = self._give(self._place(np.empty(0, np.int64), 0))
            return early + (self._give(self._dejitter.flush()) if self._dejitter else [])
        out = self._start() if self._held else []
        return out + (self._counted.flush() if self._counted is not None else [])

    def _place(self, stamps: npt.NDArray[np.int64], patience: int = MEASURE) -> list[StampRun]:
        """Place the sender's times; the first ones are held back until they give the rate."""
        if self._dejitter is None:
            self._early += stamps.tolist()
            span = self._early[-1] - self._early[0] if self._early else 0
            if span <= 0 or span < patience:
                return []
            self._rate = stated(_rate(np.array(self._early, np.int64)), KNOWN)
            self._dejitter = Dejitter(self._rate)
            stamps, self._early = np.array(self._early, np.int64), []
        return self._dejitter.push(stamps)

    def _stamps(self, column: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the sender's times, ns, unwrapped."""
        out, unit = [], self._unit or UNITS["ms"]
        for value in np.nan_to_num(column).tolist():
            now = round(value * unit) if abs(value) * unit < LATEST else 0
            if unit in WRAPPING and self._before is not None:
                behind = self._before - self._round - now
                if behind > WRAP // 2 * unit:
                    self._round += WRAP * unit
            if self._before is not None and now + self._round < self._before - NS:
                self._round = self._before - now + round(NS / (self._rate or 100.0))
                self._track.interrupted("the sender began anew")
                self._track.anew()
            self._before = now + self._round
            out.append(self._before)
        return np.array(out, np.int64)

    def _give(self, runs: Sequence[StampRun]) -> list[Chunk | Event]:
        out: list[Chunk | Event] = []
        for run in runs:
            n = len(run.times)
            rows, self._rows = self._rows[:n], self._rows[n:]
            hole = Hole(self._placed, run.lost) if run.lost and self._placed is not None else None
            placed = PlacedSamples(run.times, rows, int(self._came[n - 1]), hole)
            self._came = self._came[n:]
            self._placed = int(run.times[-1])
            out += self._track.give([placed], self._dejitter.rate if self._dejitter else 100.0)
        return out

    def _start(self) -> list[Chunk | Event]:
        """Begin to count, at the rate of the samples held back."""
        held, self._held = self._held, []
        span = (held[-1][1] - held[0][1]) / NS
        after = sum(len(rows) for rows, _ in held[1:])
        # Less than one a second is not a rate, but two single lines far apart.
        self._rate = stated(after / span, KNOWN) if span and after >= span else 100.0
        self._counted = CountedTrack(self._device, self._labels, self._rate, promised=False)
        out: list[Chunk | Event] = []
        for rows, arrival in held:
            out += self._counted.push(rows, arrival)
        return out


def _rate(stamps: npt.NDArray[np.int64]) -> float:
    """Return the rate, Hz, of ascending stamps, ns, some of which may be missing."""
    steps = np.diff(stamps)
    single, _ = whole_steps(steps) if (steps > 0).all() else (0.0, 0.0)
    return NS / (single or float(steps.mean()))


def _light(columns: Sequence[int], names: Sequence[str]) -> list[int]:
    """Return the columns that may be light by their names: those named so, if there are any."""
    kinds = {c: kind_of_name(names[c]) for c in columns}
    for wanted in ("light", "pulse", ""):
        if found := [c for c in columns if kinds[c] == wanted]:
            return found
    return []


def _column(wanted: str | None, names: Sequence[str]) -> int | None:
    """Return the index of a column, given its number from 0 or its name; None if there is none."""
    if wanted is None:
        return None
    if wanted.lower() in names:
        return names.index(wanted.lower())
    return int(wanted) if wanted.isdigit() and int(wanted) < len(names) else None
