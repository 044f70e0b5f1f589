"""Tables of samples: CSV and similar text files.

A table needs a time column or ``?rate=``. The time column is recognised by its name (or its
content, without a header) and read as a date, a time of day or a number. The number's unit follows
from the name (``[ms]``, ``time_ns``) or its size: a time since 1970 has 10, 13, 16 or 19 digits; a
time since the start advances by less than 0.5 in seconds and by less than 500 in milliseconds.

The light is chosen by name and shape (`timing.plausible_light`). Acceleration is passed on; a
pressure only where the user says that it was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import (
    NO_DATE,
    Notices,
    Recording,
    RecordingBlock,
    measured_rate,
)
from innpar.devices.files.tables.rows import RowParser, blocks_of_lines, skipped
from innpar.devices.files.tables.stamps import (
    JitteredStamps,
    SharedStamps,
    are_jittered,
    are_shared,
)
from innpar.devices.files.tables.table_columns import TableColumns, choose_columns, stated_origin
from innpar.devices.files.tables.table_layout import Layout, find_layout
from innpar.devices.files.tables.table_times import DATES, SCALES, TimeColumn, find_times, is_time
from innpar.devices.options import Options

OPTIONS = {
    "channel": "name or number (from 0) of the PPG column",
    "rate": "sampling rate in Hz, if the file has no times",
    "time": "name or number of the time column",
    "unit": "unit of the time column: s, ms, us, ns, min or h",
    "dates": "day or month, whichever comes first in dates such as 05/04/2026",
    "reference": "name or number of a column of measured arterial pressure, mmHg",
}
MOST_RATE = 10_000.0
"""Highest rate of a PPG sensor, Hz."""


def open_table(path: Path, head: list[bytes], options: dict[str, str]) -> Recording:
    """Open a table.

    Args:
        path: The file, optionally compressed.
        head: Its first complete lines.
        options: See `OPTIONS`.

    Raises:
        Refused: It is not a table of numbers, or its times or PPG column are unclear; the message
            names the option that resolves it.
    """
    chosen = Options(str(path), options, OPTIONS)
    layout = find_layout(path, head)
    rows = layout.rows(head)
    if len(rows) < 2:
        raise Refused(f"{path}: fewer than two rows of samples; is this the right file?")
    rate = chosen.number("rate", 1.0, MOST_RATE)
    time = chosen.column("time", layout.names)
    given = chosen.column("channel", layout.names), chosen.column("reference", layout.names)
    unit, dates = chosen.choice("unit", SCALES), chosen.choice("dates", DATES)
    times = find_times(path, layout, rows, time, unit, dates) if rate is None else None
    if rate is None and times is None:
        raise Refused(f"{path}: the table has no time column; add ?rate=HZ or ?time=NAME")
    reader = _TableReader(path, layout, times, rate)
    if rate is None and not 1.0 <= reader.measure(rows) <= MOST_RATE:
        raise Refused(
            f"{path}: its times imply a rate of {reader.rate:g} Hz; add ?time=NAME, ?unit=s, ms, us"
            " or ns, or ?rate=HZ"
        )
    left = [
        c
        for c in range(layout.width)
        if c not in layout.text and not (layout.header and is_time(layout.names[c]))
    ]
    if times is not None:
        left = [c for c in left if c not in (times.column, times.date)]
    left += [c for c in given if c is not None and c not in left]
    _, values = reader.parser(tuple(left)).parse(rows)
    columns = choose_columns(path, layout, left, values, reader.rate, *given)
    return reader.recording(columns, rows)


class _TableReader:
    """Reader of a table with known layout and times.

    Args:
        path: The file.
        layout: Its layout.
        times: Its times; None where `given` replaces them.
        given: Rate given by the user, Hz.

    Attributes:
        rate: Sampling rate, Hz; NaN until measured.
    """

    def __init__(
        self, path: Path, layout: Layout, times: TimeColumn | None, given: float | None
    ) -> None:
        self._path, self._layout, self._times = path, layout, times
        self.rate = float("nan") if given is None else given
        self._spreader: SharedStamps | JitteredStamps | None = None

    def parser(self, values: tuple[int, ...]) -> RowParser:
        """Return a parser of these columns."""
        if self._times is None:
            return self._layout.parser(None, int, values)
        return self._layout.parser(self._times.column, self._times.read, values, self._times.date)

    def measure(self, rows: list[bytes]) -> float:
        """Return the rate by the times of the first rows, Hz; NaN if they stand still."""
        stamps, _ = self.parser(()).parse(rows)
        self.rate = measured_rate(stamps)
        if are_shared(stamps):
            self._spreader = SharedStamps(stamps)
        elif are_jittered(stamps):
            self._spreader = JitteredStamps(stamps)
        if self._spreader is not None:
            self.rate = self._spreader.rate
        return self.rate

    def recording(self, columns: TableColumns, rows: list[bytes]) -> Recording:
        """Return the table as a recording; `rows` are its first ones."""
        first = next(self._blocks(iter([rows]), self.parser(columns.all), columns))

        def read(notices: Notices) -> Iterator[RecordingBlock]:
            parser = self.parser(columns.all)
            notices.extend(() if self._times is None else self._times.notes)
            with opened(self._path) as stream:
                for _ in range(self._layout.skip):
                    stream.readline()
                yield from self._blocks(blocks_of_lines(stream), parser, columns)
            notices.extend(skipped(self._path, parser))

        return Recording(
            format="table",
            model="unknown",
            channels=tuple(self._layout.names[c] for c in columns.light),
            rate=self.rate,
            polarity=0,
            site="unknown",
            start=int(first.times[0]),
            duration=None,
            read=read,
            detail={} if columns.reference is None else {"reference": True},
            origin=stated_origin(self._layout, rows),
            motion_rate=self.rate if columns.motion else 0.0,
        )

    def _blocks(
        self, parts: Iterator[list[bytes]], parser: RowParser, columns: TableColumns
    ) -> Iterator[RecordingBlock]:
        parsed = (parser.parse(lines) for lines in parts)
        blocks = (columns.block(self._dated(stamps), values) for stamps, values in parsed)
        return blocks if self._spreader is None else self._spreader.spread(blocks)

    def _dated(self, stamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self._times is not None:
            return stamps + self._times.anchor
        since: npt.NDArray[np.int64] = np.rint(stamps * (NS / self.rate)).astype(np.int64)
        return since + NO_DATE
