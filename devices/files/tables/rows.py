"""Text rows, read block by block and parsed column by column."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from innpar.devices.base import BadPacket
from innpar.devices.files.packed import BLOCK_BYTES

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LARGEST = 2**63 - 1

MISSING = frozenset({b"", b"nan", b"na", b"n/a", b"null", b"none", b"-", b"?"})
"""Cells, in lower case, that mark a missing value."""


def blocks_of_lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield lists of complete lines without line ends, about `BLOCK_BYTES` at a time.

    Raises:
        BadPacket: A line is longer than a megabyte.
    """
    left = stream.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
    while data := stream.read(BLOCK_BYTES):
        left += data
        whole, newline, rest = left.rpartition(b"\n")
        if newline:
            left = rest
            yield whole.replace(b"\r", b"").split(b"\n")
        elif len(left) > 16 * BLOCK_BYTES:
            raise BadPacket("a line of more than a megabyte; this is not a table", left[:64])
    if left:
        yield left.replace(b"\r", b"").split(b"\n")


def normal(line: bytes, delimiter: bytes, decimal_comma: bool, quoted: bool) -> bytes:
    """Return a row in its simplest form: without quotation marks, with a decimal point.

    Arguments as for `RowParser`.
    """
    if quoted and b'"' in line:
        text = line.decode("utf-8", "replace")
        cells = next(csv.reader([text], delimiter=delimiter.decode()), [])
        if decimal_comma:
            cells = [cell.replace(",", ".") for cell in cells]
        return delimiter.join(c.encode().replace(delimiter, b" ").strip() for c in cells)
    if decimal_comma and delimiter != b",":
        line = line.replace(b",", b".")
    return b" ".join(line.split()) if delimiter == b" " else line.strip()


@dataclass(slots=True)
class RowParser:
    """Parser of lines into times and values, which counts unreadable rows.

    Attributes:
        delimiter: Separator of cells; a space stands for any white space.
        width: Cells per row.
        time: Column of the time; None if the table has none.
        time_of: Function from a time cell to ns.
        values: Columns of the values.
        decimal_comma: Whether 1,5 means 1.5.
        quoted: Whether cells may be in quotation marks.
        date: Column of the date, if `time` is only the time of day.
        row: Rows so far, including unreadable ones.
        bad: Unreadable rows so far.
        first_bad: Row number of the first of them, from 1.
    """

    delimiter: bytes
    width: int
    time: int | None
    time_of: Callable[[bytes], int]
    values: tuple[int, ...]
    decimal_comma: bool = False
    quoted: bool = False
    date: int | None = None
    row: int = 0
    bad: int = 0
    first_bad: int = 0

    def parse(self, lines: list[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Parse some rows.

        Returns:
            Times, (rows,) int64 ns, or row numbers from 0 if there is no time column; and values,
            (rows, values) float64, NaN where missing.
        """
        lines = [line for line in map(self._plain, lines) if line]
        first = self.row
        self.row += len(lines)
        try:
            times, data = self._together(lines, first)
        except (ValueError, OverflowError):
            times, data = self._one_by_one(lines, first)
        data[~np.isfinite(data)] = np.nan
        return times, data

    def _plain(self, line: bytes) -> bytes:
        return normal(line, self.delimiter, self.decimal_comma, self.quoted)

    def _together(
        self, lines: list[bytes], first: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        between = self.width - 1
        if any(line.count(self.delimiter) != between for line in lines):
            raise ValueError("rows of unequal width")
        cells = self.delimiter.join(lines).split(self.delimiter)
        if self.time is None:
            times = np.arange(first, first + len(lines))
        else:
            written = cells[self.time :: self.width]
            if self.date is not None:
                days = cells[self.date :: self.width]
                written = list(map(b" ".join, zip(days, written, strict=True)))
            times = np.array(list(map(self.time_of, written)), np.int64)
        data = np.empty((len(lines), len(self.values)))
        for c, column in enumerate(self.values):
            data[:, c] = list(map(float, cells[column :: self.width]))
        return times, data

    def _moment(self, cells: list[bytes], time: int) -> bytes:
        return cells[time] if self.date is None else cells[self.date] + b" " + cells[time]

    def _one_by_one(
        self, lines: list[bytes], first: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        times, data = [], []
        for row, line in enumerate(lines, start=first):
            cells = line.split(self.delimiter)
            try:
                if len(cells) != self.width:
                    raise ValueError("row of another width")
                values = [_value(cells[c]) for c in self.values]
                time = row if self.time is None else self.time_of(self._moment(cells, self.time))
                if abs(time) > _LARGEST:
                    raise ValueError("time exceeds int64")
                times.append(time)
                data.append(values)
            except (ValueError, OverflowError):
                self.bad += 1
                self.first_bad = self.first_bad or row + 1
        return (
            np.array(times, np.int64),
            np.array(data, np.float64).reshape(len(times), len(self.values)),
        )


def skipped(path: Path, rows: RowParser) -> list[str]:
    """Return the notice about unreadable rows, if there were any."""
    if not rows.bad:
        return []
    return [
        f"{path.name}: {rows.bad} of {rows.row} rows could not be read and were skipped"
        f" (the first is row {rows.first_bad})"
    ]


def _value(cell: bytes) -> float:
    return float("nan") if cell.strip().lower() in MISSING else float(cell)
