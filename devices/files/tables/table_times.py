"""Time column of a table: its name, unit and way of writing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.recording import LATEST, NO_DATE, moved_date, moved_text
from innpar.devices.files.tables.moments import DateOrder, date_order, is_moment, moment_reader
from innpar.devices.files.tables.table_layout import Layout
from innpar.devices.timing.column_names import kind_of_name

SCALES = {
    "s": NS, "ms": 10**6, "us": 10**3, "ns": 1, "min": 60 * NS, "h": 3600 * NS,
}  # fmt: skip
"""Unit → ns."""
DATES = ("day", "month")

_TIME_NAME = re.compile(r"time|stamp|date|second|milli|zeit|datum|fecha|hora|temps", re.IGNORECASE)
_UNIT_NAME = re.compile(r"(?:^|[\W_\d])([a-zµ]+)(?=$|[\W_\d])", re.IGNORECASE)
_UNITS = {
    **{unit: unit for unit in SCALES},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("µs", "usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("nanos", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
}
_DATE_ONLY = re.compile(rb"\s*['\"\[]?\d{1,4}[-/.]\d\d?[-/.]\d{2,4}['\"\]]?\s*")


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Times of a table's rows.

    Attributes:
        column: Column of the time.
        date: Column of the date, if the time is only the time of day.
        read: Function from a cell (or date and time, with a space between) to ns.
        anchor: Offset from there to ns since the Unix epoch.
        notes: Assumptions to report.
    """

    column: int
    date: int | None
    read: Callable[[bytes], int]
    anchor: int
    notes: tuple[str, ...] = ()


def is_time(name: str) -> bool:
    """Return whether a column's name says that it holds times."""
    kind = kind_of_name(name)
    return kind == "time" or (kind == "" and bool(_TIME_NAME.search(name)))


def find_times(
    path: Path,
    layout: Layout,
    rows: list[bytes],
    chosen: int | None,
    unit: str | None,
    dates: str | None,
) -> TimeColumn | None:
    """Return the times of a table; None if it has none.

    Args:
        path: The file, for messages.
        layout: Its layout.
        rows: Its first rows.
        chosen: Column given by the user.
        unit: Unit given by the user.
        dates: ``day`` or ``month``, whichever comes first, given by the user.

    Raises:
        Refused: The unit is unclear.
    """
    table = [row.split(layout.delimiter) for row in rows]
    column, date = _columns(layout, table) if chosen is None else (chosen, None)
    if column is None:
        return None
    cells = [row[column] for row in table]
    days = [row[date] for row in table] if date is not None else cells
    numbers = [n for cell in cells if (n := _number(cell)) is not None]
    if len(numbers) >= len(cells) / 2:
        return _of_numbers(path, layout.names[column], column, np.array(numbers), unit)
    order = date_order(days)
    notes = []
    if dates is not None:
        order = DateOrder(dates == "day", False)
    if order.unclear:
        notes.append(
            f"{path.name}: the date {days[0].decode('ascii', 'replace')} is unclear; taken as "
            "month/day, add ?dates=day if the day is first"
        )
    read = moment_reader(order)
    written = cells if date is None else [b" ".join(p) for p in zip(days, cells, strict=True)]
    shift = moved_date(_first(read, written))
    if shift:
        notes.append(moved_text(path.name))
    return TimeColumn(column, date, _shifted(read, shift), 0, tuple(notes))


def _shifted(read: Callable[[bytes], int], shift: int) -> Callable[[bytes], int]:
    return (lambda cell: read(cell) + shift) if shift else read


def _first(read: Callable[[bytes], int], cells: list[bytes]) -> int:
    for cell in cells:
        try:
            return read(cell)
        except ValueError:
            continue
    return 0


def _columns(layout: Layout, table: list[list[bytes]]) -> tuple[int | None, int | None]:
    """Return the column of the time, and that of the date if it stands apart."""
    if not layout.header:
        return (0 if layout.width > 1 and layout.first_advances else None), None
    named = [c for c, name in enumerate(layout.names) if is_time(name)]
    middle = table[len(table) // 2]
    days = [c for c in named if _DATE_ONLY.fullmatch(middle[c])]
    times = [c for c in named if c not in days]
    if not times:
        return (named[0] if named else None), None
    clock = is_moment(middle[times[0]]) and not re.search(rb"\d[-/.]\d+[-/.]\d", middle[times[0]])
    return times[0], days[0] if days and clock else None


def _number(cell: bytes) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _of_numbers(
    path: Path, name: str, column: int, known: npt.NDArray[np.float64], unit: str | None
) -> TimeColumn:
    middle = float(np.median(known))
    unit = unit or unit_of(name, known)
    if unit is None:
        raise Refused(f"{path}: the unit of {name!r} is unclear; add ?unit=s, ms, us or ns")
    scale = SCALES[unit]

    def read(cell: bytes) -> int:
        try:
            return int(cell) * scale
        except ValueError:
            return round(float(cell) * scale)

    dated = middle * scale > 1e8 * NS
    if not dated:
        return TimeColumn(column, None, read, NO_DATE)
    shift = moved_date(round(float(known[0]) * scale))
    return TimeColumn(
        column, None, _shifted(read, shift), 0, (moved_text(path.name),) if shift else ()
    )


def unit_of(name: str, times: npt.NDArray[np.float64]) -> str | None:
    """Return the unit of times by their name, else by their size; None if it is unclear."""
    named = [_UNITS[w.lower()] for w in _UNIT_NAME.findall(name) if w.lower() in _UNITS]
    possible = named and abs(float(np.median(times))) * SCALES[named[-1]] < LATEST
    return named[-1] if possible else _unit_by_size(times)


def _unit_by_size(times: npt.NDArray[np.float64]) -> str | None:
    middle = float(np.median(np.abs(times)))
    for unit, least in (("ns", 1e17), ("us", 1e14), ("ms", 1e11), ("s", 1e8)):
        if middle >= least:
            return unit
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return None
    usual = float(np.median(steps))
    for unit, most in (("s", 0.5), ("ms", 500.0), ("us", 5e5)):
        if usual < most:
            return unit
    return "ns"
