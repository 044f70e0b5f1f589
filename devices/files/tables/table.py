"""Tables of samples: CSV and similar text files.

A table needs a time column or ``?rate=``. The time column is recognised by its name (or its
content, without a header) and read as ISO 8601 or as a number. The number's unit follows from the
name (``[ms]``, ``time_ns``) or its size: a time since 1970 has 10, 13, 16 or 19 digits; a time
since the start advances by less than 0.5 in seconds and by less than 500 in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
    iso_time,
    measured_rate,
)
from innpar.devices.files.tables.rows import blocks_of_lines, skipped
from innpar.devices.files.tables.table_layout import Layout, find_layout
from innpar.devices.options import Options

OPTIONS = {
    "channel": "name or number (from 0) of the PPG column",
    "rate": "sampling rate in Hz, if the file has no times",
    "time": "name or number of the time column",
    "unit": "unit of the time column: s, ms, us or ns",
}
MOST_RATE = 10_000.0
"""Highest rate of a PPG sensor, Hz."""

_SCALES = {"s": NS, "ms": 10**6, "us": 10**3, "ns": 1}
_TIME_NAME = re.compile(r"^t$|time|stamp|date|second|milli", re.IGNORECASE)
_UNIT_NAME = re.compile(r"(?:^|[\W_])(s|ms|us|ns)(?:$|[\W_])", re.IGNORECASE)
_PPG_NAME = re.compile(
    r"ppg|pleth|bvp|green|red|^ir|infra|^channel|^value|^signal|^raw", re.IGNORECASE
)
_COUNT_NAME = re.compile(r"^$|^index$|^sample|^n$|^#|^row", re.IGNORECASE)


def open_table(path: Path, head: list[bytes], options: dict[str, str]) -> Recording:
    """Open a table.

    Args:
        path: The file, optionally gzip-compressed.
        head: Its first complete lines.
        options: See `OPTIONS`.

    Raises:
        Refused: It is not a table of numbers, or its times or PPG column are unclear; the message
            names the option that resolves it.
    """
    chosen = Options(str(path), options, OPTIONS)
    layout = find_layout(path, head)
    if len(layout.rows(head)) < 2:
        raise Refused(f"{path}: fewer than two rows of samples; is this the right file?")
    rate = chosen.number("rate", 1.0, MOST_RATE)
    time = chosen.column("time", layout.names)
    if time is None:
        time = _time_column(layout)
    values = _value_columns(path, layout, chosen.column("channel", layout.names), time)
    unit = chosen.choice("unit", _SCALES)
    if rate is not None:
        return _by_rows(path, head, layout, values, rate)
    if time is None:
        raise Refused(f"{path}: the table has no time column; add ?rate=HZ or ?time=NAME")
    return _by_time(path, head, layout, values, time, unit)


def _by_rows(
    path: Path, head: list[bytes], layout: Layout, values: tuple[int, ...], rate: float
) -> Recording:
    def times(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        since: npt.NDArray[np.int64] = np.rint(rows * (NS / rate)).astype(np.int64)
        return since + NO_DATE

    return _recording(path, head, layout, values, None, int, times, rate)


def _by_time(
    path: Path,
    head: list[bytes],
    layout: Layout,
    values: tuple[int, ...],
    time: int,
    unit: str | None,
) -> Recording:
    cells = [row.split(layout.delimiter)[time] for row in layout.rows(head)]
    name = layout.names[time]
    read, anchor = _time_reader(path, name, cells, unit)
    return _recording(path, head, layout, values, time, read, lambda t: t + anchor, None)


def _recording(
    path: Path,
    head: list[bytes],
    layout: Layout,
    values: tuple[int, ...],
    time: int | None,
    time_of: Callable[[bytes], int],
    times_of: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]],
    rate: float | None,
) -> Recording:
    first, _ = layout.parser(time, time_of, values).parse(layout.rows(head))
    measured = rate or measured_rate(first)
    if not 1.0 <= measured <= MOST_RATE:
        raise Refused(
            f"{path}: its times imply a rate of {measured:g} Hz; add ?time=NAME, ?unit=s, ms, us"
            " or ns, or ?rate=HZ"
        )

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        rows = layout.parser(time, time_of, values)
        with opened(path) as stream:
            for _ in range(layout.skip):
                stream.readline()
            for lines in blocks_of_lines(stream):
                times, data = rows.parse(lines)
                yield RecordingBlock(times_of(times), data)
        notices.extend(skipped(path, rows))

    return Recording(
        format="table",
        model="unknown",
        channels=tuple(layout.names[c] for c in values),
        rate=measured,
        polarity=0,
        site="unknown",
        start=int(times_of(first[:1])[0]),
        duration=None,
        read=read,
    )


def _time_column(layout: Layout) -> int | None:
    if layout.header:
        named = [c for c, name in enumerate(layout.names) if _TIME_NAME.search(name)]
        return named[0] if named else None
    return 0 if layout.width > 1 and layout.first_advances else None


def _value_columns(
    path: Path, layout: Layout, channel: int | None, time: int | None
) -> tuple[int, ...]:
    if channel is not None:
        return (channel,)
    names = layout.names
    left = [c for c in range(layout.width) if c != time]
    if layout.header:
        left = [
            c for c in left if not _TIME_NAME.search(names[c]) and not _COUNT_NAME.search(names[c])
        ]
        named = tuple(c for c in left if _PPG_NAME.search(names[c]))
        if named:
            return named
    if len(left) == 1:
        return (left[0],)
    listed = ", ".join(names[c] for c in left)
    raise Refused(
        f"{path}: which column is the PPG? Add ?channel=NAME; there are: {listed or 'none'}"
    )


def _time_reader(
    path: Path, name: str, cells: list[bytes], unit: str | None
) -> tuple[Callable[[bytes], int], int]:
    """Return a function from a time cell to ns, and the offset to ns since the Unix epoch."""
    numbers = []
    for cell in cells:
        try:
            numbers.append(float(cell))
        except ValueError:
            continue
    if len(numbers) < len(cells) / 2:
        return iso_time, 0
    known = np.array(numbers)
    named = _UNIT_NAME.search(name)
    unit = unit or (named[1].lower() if named else _unit_by_size(known))
    if unit is None:
        raise Refused(f"{path}: the unit of {name!r} is unclear; add ?unit=s, ms, us or ns")
    scale = _SCALES[unit]

    def read(cell: bytes) -> int:
        try:
            return int(cell) * scale
        except ValueError:
            return round(float(cell) * scale)

    dated = float(np.median(known)) * scale > 1e8 * NS
    return read, 0 if dated else NO_DATE


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
