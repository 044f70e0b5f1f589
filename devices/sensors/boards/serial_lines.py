"""Sensors that print one line of numbers a sample: MAX3010x on an Arduino or ESP32, and similar.

A line holds numbers separated by commas, semicolons, blanks or tabs, each of which may be labelled
as for a plotter: ``52310,48211``, ``ir:52310,red:48211``, ``R[48211] IR[52310]``. A line of names
is a header. A line may also be a JSON object, or one of PulseSensor's (``S512``). A column called
``t``, ``time``, ``millis``, ``time_us``, ``Time[s]`` or the like is the sender's time; without one,
samples are counted. Columns named as something that is no light (``temp``, ``HR``) are left out,
and so are those not named as light that count or stand still. Three axes of an accelerometer, by
their names (``ax,ay,az``) or by the length of gravity, become acceleration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event, Refused
from innpar.devices.link.serial_port import CHANNEL, Wire, Wired
from innpar.devices.options import Options
from innpar.devices.sensors.boards.line_format import UNITS, Line, names_of, parse
from innpar.devices.sensors.boards.line_table import LineTable
from innpar.devices.timing.live_columns import enough
from innpar.devices.timing.track import Rows

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

LONGEST = 1024
"""Most bytes of a line."""


class LineDecoder:
    """Decoder of lines of numbers; see `Decoder`.

    Args:
        device: Id to put on everything.
        rate: Sampling rate, Hz; None to measure it.
        time: Number or name of the column with the sender's time; None to find it by name.
        unit: Of that column, a key of `UNITS`; None to infer it from the name, else ms.
        keep: Numbers or names of the columns to keep; empty for all that may be light.
        judged: Whether columns that are no light are left out.
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
        judged: bool = True,
        joined: bool = True,
    ) -> None:
        self._device, self._given = device, rate
        self._time, self._unit, self._keep = time, unit, tuple(keep)
        self._cut = self._joined = joined
        self._judged = judged
        self._unjudged: list[tuple[Rows, int]] = []  # unlabelled, with their arrivals
        self._rest = b""
        self._header: tuple[str, ...] = ()
        self._shape: tuple[str, ...] | None = None
        self._seen: tuple[str, ...] | None = None
        self._unused: tuple[float, ...] = ()  # numbers of the line before the first one used
        self._table: LineTable | None = None
        self._last = 0
        self.bad: int = 0

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the time of the last sample that the bytes complete, by count."""
        lines = max(raw.count(b"\n"), raw.count(b"\r"))
        return self._last + (self._table.length(lines) if self._table else 0)

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        """Note the reason for the next gap; plugged in again, everything begins anew."""
        if self._table is not None:
            self._table.interrupted(why, relinked)
        if relinked:
            self._cut, self._rest = self._joined, b""

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back, at the rate measured so far."""
        if self._table is None:
            return []
        early: list[Chunk | Event] = []
        if self._is_enough():
            early, _ = self._judge()
        self._unjudged = []  # too few to show that they are light
        return early + self._table.split(self._table.flush())

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        """Decode the bytes of one read.

        Raises:
            BadPacket: They hold lines, but none of numbers.
        """
        self._last = arrival
        *lines, rest = re.split(rb"\r\n|\n|\r(?!\Z)", self._rest + raw)
        self._rest = rest[-LONGEST:]
        if self._cut and lines:
            self._cut, lines = False, lines[1:]
        parsed = [self._line(line.decode("utf-8", "replace").strip("\r\0 ")) for line in lines]
        rows = [values for values in parsed if values]
        if rows and self._table is not None:
            return self._push(np.array(rows, np.float64), arrival)
        if None in parsed:
            self.bad += 1
            wrong = lines[parsed.index(None)]
            raise BadPacket(f"not a line of numbers: {wrong[:60]!r}", wrong)
        return []

    def _push(self, rows: Rows, arrival: int) -> list[Chunk | Event]:
        """Pass rows on; unlabelled columns are held back until their shape can be judged.

        Raises:
            BadPacket: No column may be light.
        """
        assert self._table is not None
        if not self._table.columns:
            self.bad += 1
            listed = ", ".join(self._shape or ())
            raise BadPacket(f"no column that may be light among {listed}; name one with ?channel=…")
        if self._table.known:
            return self._table.split(self._table.push(rows, arrival))
        self._unjudged.append((rows, arrival))
        if not self._is_enough():
            return []
        out, why = self._judge()
        if why:
            raise BadPacket(f"no column that may be light ({why}); name one with ?channel=…")
        return out

    def _is_enough(self) -> bool:
        """Return whether the rows held back suffice to judge their shape."""
        held = self._unjudged
        count = sum(len(rows) for rows, _ in held)
        return bool(held) and enough(count, held[-1][1] - held[0][1])

    def _judge(self) -> tuple[list[Chunk | Event], str]:
        """Choose the columns by the rows held back; return these, or why none may be light."""
        assert self._table is not None
        held, self._unjudged = self._unjudged, []
        span = (held[-1][1] - held[0][1]) / NS
        after = sum(len(rows) for rows, _ in held[1:])
        rate = after / span if span else math.nan
        if why := self._table.judge(np.concatenate([rows for rows, _ in held]), rate):
            self.bad += 1
            return [], why
        out: list[Chunk | Event] = []
        for rows, arrival in held:
            out += self._table.split(self._table.push(rows, arrival))
        return out, ""

    def _line(self, text: str) -> tuple[float, ...] | None:
        """Return the numbers of a line, () for a line without a sample, None for an invalid one."""
        if not text:
            return ()
        found = parse(text) if len(text) <= LONGEST else None
        if found is None:
            named = names_of(text) if len(text) <= LONGEST else ()
            self._header = named or self._header
            return () if named else None
        labels, values = found
        if not values:
            return ()
        labels, values = _ordered(labels, values, self._seen)
        if self._shape is None and labels == self._seen:  # a single one may be a greeting
            self._shape = labels
            named = self._header if len(self._header) == len(labels) else labels
            self._table = LineTable(
                self._device,
                named,
                self._given,
                self._time,
                self._unit,
                self._keep,
                judged=self._judged,
            )
        self._seen = labels
        if self._shape is None:
            self._unused = values
            return ()
        return values if labels == self._shape else None


def _ordered(
    labels: tuple[str, ...], values: tuple[float, ...], before: tuple[str, ...] | None
) -> Line:
    """Return labels and values in the order of the line before, if they are the same labels."""
    if before is None or labels == before or sorted(labels) != sorted(before) or not all(labels):
        return labels, values
    return before, tuple(values[labels.index(label)] for label in before)


def capture_decoder(device: str, rate: float | None) -> LineDecoder:
    """Return the decoder of captured lines, the first of which is whole."""
    return LineDecoder(device, rate, joined=False, judged=False)


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
