"""Sensors that print one line of numbers a sample: MAX3010x on an Arduino or ESP32, and similar.

A line holds numbers separated by commas, semicolons, blanks or tabs, each of which may be labelled
as for a plotter: ``52310,48211``, ``ir:52310,red:48211``, ``R[48211] IR[52310]``. A line of names
is a header. A column called ``ms``, ``millis``, ``time_ms``, ``us``, ``micros`` or ``time_us`` is
the sender's time; without one, samples are counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, BadPacket, Chunk, Event, Refused
from innpar.devices.link.serial_port import CHANNEL, Wire, Wired
from innpar.devices.options import Options
from innpar.devices.timing.counted import CountedTrack
from innpar.devices.timing.dejitter import Dejitter, StampRun
from innpar.devices.timing.timeline import Hole, PlacedSamples
from innpar.devices.timing.track import Rows, SignalTrack, stated

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

UNITS = {"ms": 1_000_000, "us": 1000, "s": NS}
TIMES = {
    **dict.fromkeys(("ms", "millis", "time_ms", "t_ms", "timestamp_ms"), "ms"),
    **dict.fromkeys(("us", "micros", "time_us", "t_us", "timestamp_us"), "us"),
}
"""Name of a column → its unit of time."""

LONGEST = 1024
"""Most bytes of a line."""

MEASURE = 2 * NS
"""Time for which samples are held back to measure an unknown rate, ns."""

KNOWN = (25, 50, 60, 64, 75, 100, 125, 200, 250, 400, 500, 800, 1000)
"""Common rates, Hz; a measured rate close to one is taken as that."""

WRAP = 1 << 32
"""Value at which the counters of millis() and micros() begin again."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[nN]a[nN]"
_ITEM = re.compile(rf"\s*(?:([A-Za-z_]\w*)\s*[:=\[]\s*)?({_NUMBER})\s*\]?\s*(?:[,;\s]|$)")
_NAMES = re.compile(r"\s*[A-Za-z_]\w*(?:\s*[,;\t]\s*[A-Za-z_]\w*)*\s*")

Line = tuple[tuple[str, ...], tuple[float, ...]]


def parse(text: str) -> Line | None:
    """Return labels (empty if missing) and numbers; None for any other line."""
    labels, values, at = [], [], 0
    while at < len(text):
        item = _ITEM.match(text, at)
        if item is None:
            return None
        labels.append((item[1] or "").lower())
        values.append(float(item[2]))
        at = item.end()
    return (tuple(labels), tuple(values)) if values else None


class LineDecoder:
    """Decoder of lines of numbers; see `Decoder`.

    Args:
        device: Id to put on everything.
        rate: Sampling rate, Hz; None to measure it.
        time: Number or name of the column with the sender's time; None to find it by name.
        unit: Of that column, a key of `UNITS`; None to infer it from the name, else ms.
        keep: Numbers or names of the columns to keep; empty for all.
        joined: Whether the first bytes may be the end of a line.

    Attributes:
        bad: Number of reads with lines, but none of numbers.
    """

    channels = (CHANNEL,)

    def __init__(
        self,
        device: str,
        rate: float | None = None,
        *,
        time: str | None = None,
        unit: str | None = None,
        keep: Sequence[str] = (),
        joined: bool = True,
    ) -> None:
        self._device, self._given = device, rate
        self._time, self._unit, self._keep = time, unit, tuple(keep)
        self._cut = joined
        self._rest = b""
        self._header: tuple[str, ...] = ()
        self._shape: tuple[str, ...] | None = None
        self._seen: tuple[str, ...] | None = None
        self._table: _LineTable | None = None
        self._last = 0
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample that the bytes complete, by count."""
        return self._last + (self._table.length(raw.count(b"\n")) if self._table else 0)

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; plugged in again, everything begins anew."""
        if self._table is not None:
            self._table.interrupted(why, relinked)
        if relinked:
            self._cut, self._rest = True, b""

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back, at the rate measured so far."""
        return self._table.flush() if self._table is not None else []

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode the bytes of one read.

        Raises:
            BadPacket: They hold lines, but none of numbers.
        """
        self._last = arrival
        *lines, rest = (self._rest + raw).split(b"\n")
        self._rest = rest[-LONGEST:]
        if self._cut and lines:
            self._cut, lines = False, lines[1:]
        parsed = [self._line(line.decode("utf-8", "replace").strip("\r\0 ")) for line in lines]
        rows = [values for values in parsed if values]
        if rows and self._table is not None:
            return self._table.push(np.array(rows, np.float64), arrival)
        if None in parsed:
            self.bad += 1
            wrong = lines[parsed.index(None)]
            raise BadPacket(f"not a line of numbers: {wrong[:60]!r}", wrong)
        return []

    def _line(self, text: str) -> tuple[float, ...] | None:
        """Return the numbers of a line, () for a line without a sample, None for an invalid one."""
        if not text:
            return ()
        found = parse(text)
        if found is None:
            if _NAMES.fullmatch(text) and re.search("[,;\t]", text):
                self._header = tuple(re.split(r"\s*[,;\t]\s*", text.strip().lower()))
                return ()
            return None
        labels, values = found
        if self._shape is None and labels == self._seen:  # a single one may be a greeting
            self._shape = labels
            named = self._header if len(self._header) == len(labels) else labels
            self._table = _LineTable(
                self._device, named, self._given, self._time, self._unit, self._keep
            )
        self._seen = labels
        if self._shape is None:
            return ()
        return values if labels == self._shape else None


def capture_decoder(device: str, rate: float | None) -> LineDecoder:
    """Return the decoder of captured lines, the first of which is whole."""
    return LineDecoder(device, rate, joined=False)


class _LineTable:
    """Rows of one shape: the meaning of their columns, and their times."""

    def __init__(
        self,
        device: str,
        labels: Sequence[str],
        rate: float | None,
        time: str | None,
        unit: str | None,
        keep: Sequence[str],
    ) -> None:
        names = [label or f"ppg{i}" for i, label in enumerate(labels)]
        self._time = _column(time, names)
        if time is None:
            self._time = next((i for i, name in enumerate(names) if name in TIMES), None)
        label = "" if self._time is None else names[self._time]
        self._unit = UNITS[unit or TIMES.get(label, "ms")]
        kept = [c for c in (_column(k, names) for k in keep) if c is not None]
        self._columns = kept or [i for i in range(len(names)) if i != self._time]
        if len(self._columns) < len(names) and not any(labels):
            names = [
                f"ppg{i - (self._time is not None and i > self._time)}" for i in range(len(names))
            ]
        self._device, self._labels = device, [names[c] for c in self._columns]
        self._track = SignalTrack(device, self._labels)  # if the sender sends the time
        self._counted = CountedTrack(device, self._labels, rate) if rate else None
        self._rate = rate
        self._anew()

    def _anew(self) -> None:
        self._dejitter = Dejitter(self._rate) if self._rate else None
        self._early: list[int] = []
        self._held: list[tuple[Rows, int]] = []
        self._rows: Rows = np.empty((0, len(self._columns)))
        self._before: int | None = None
        self._round = 0
        self._placed: int | None = None
        self._arrival = 0

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
        self._arrival = arrival
        rows = values[:, self._columns]
        if self._time is not None:
            self._rows = np.concatenate([self._rows, rows])
            return self._give(self._place(self._stamps(values[:, self._time])))
        if self._counted is not None:
            return self._counted.push(rows, arrival)
        self._held.append((rows, arrival))
        return self._start() if arrival - self._held[0][1] >= MEASURE else []

    def flush(self) -> list[Chunk | Event]:
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
            self._rate = stated((len(self._early) - 1) * NS / span, KNOWN)
            self._dejitter = Dejitter(self._rate)
            stamps, self._early = np.array(self._early, np.int64), []
        return self._dejitter.push(stamps)

    def _stamps(self, column: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the sender's times, ns, unwrapped."""
        out = []
        for value in np.nan_to_num(column).tolist():
            now = round(value * self._unit) if abs(value) < 1e15 else 0
            if self._unit != NS and self._before is not None:
                behind = self._before - self._round - now
                if behind > WRAP // 2 * self._unit:
                    self._round += WRAP * self._unit
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
            placed = PlacedSamples(run.times, rows, self._arrival, hole)
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


def _column(wanted: str | None, names: Sequence[str]) -> int | None:
    """Return the index of a column, given its number from 0 or its name; None if there is none."""
    if wanted is None:
        return None
    if wanted.lower() in names:
        return names.index(wanted.lower())
    return int(wanted) if wanted.isdigit() and int(wanted) < len(names) else None


def port_of(name: str, argument: str) -> str:
    """Return the port of an argument.

    Raises:
        Refused: It is empty.
    """
    if not argument:
        raise Refused(f"{name} needs a port, for example {name}:/dev/ttyUSB0 (or {name}:COM3)")
    return argument


KEYS: Mapping[str, str] = {
    "baud": "bits a second (115200)",
    "rate": "sampling rate in Hz, if known",
    "time": "number or name of the column with the sender's time",
    "unit": "unit of that column: ms, us or s",
    "channel": "number or name of the columns to keep, separated by commas",
    "polarity": "1 if a pulse makes the samples rise, -1 if it makes them fall",
    "site": "place on the body: wrist, finger or head",
    "id": "name in topics and files",
}


def create_lines(argument: str, options: Mapping[str, str], pace: Pace) -> Wired:
    """Return the device for ``serial:PORT[?baud=115200&rate=100&…]``.

    Raises:
        Refused: No port is given, or an option is invalid.
    """
    given = Options("serial", options, KEYS)
    rate, time, unit = (
        given.number("rate", 5, 2000),
        given.text("time"),
        given.choice("unit", UNITS),
    )
    keep = [part for part in (given.text("channel") or "").split(",") if part]
    signs: dict[str | None, Literal[-1, 0, 1]] = {"1": 1, "-1": -1}
    wire = Wire(
        "serial",
        given.whole("baud", 300, 4_000_000) or 115_200,
        lambda device: LineDecoder(device, rate, time=time, unit=unit, keep=keep),
        polarity=signs.get(given.choice("polarity", ("1", "0", "-1")), 0),
        site=given.choice("site", ("wrist", "finger", "head")) or "unknown",
    )
    return Wired(wire, port_of("serial", argument), given.identity("") if "id" in given else None)
