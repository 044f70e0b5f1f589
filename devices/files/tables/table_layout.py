"""Layout detection of a text table: header, delimiter, columns."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from innpar.devices.base import Refused
from innpar.devices.files.recording import PLAYS
from innpar.devices.files.tables.moments import DateOrder, is_moment, moment_reader
from innpar.devices.files.tables.rows import MISSING, RowParser, normal

TEXT = 0.2
"""Share of cells that are neither numbers nor times, beyond which a column is text."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a table.

    Attributes:
        skip: Lines before the first row.
        delimiter: Separator of cells; a space stands for any white space.
        header: Whether the table names its columns.
        names: One per column; ``column0`` … without a header.
        decimal_comma: Whether 1,5 means 1.5.
        first_advances: Whether the first column looks like times: ascending, but not by ones.
        quoted: Whether cells may be in quotation marks.
        text: Columns of text.
    """

    skip: int
    delimiter: bytes
    header: bool
    names: tuple[str, ...]
    decimal_comma: bool
    first_advances: bool
    quoted: bool = False
    text: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        return len(self.names)

    def rows(self, head: list[bytes]) -> list[bytes]:
        """Return the rows among the file's first lines, in the simplest form; see `normal`."""
        style = self.delimiter, self.decimal_comma, self.quoted
        lines = (normal(line, *style) for line in head[self.skip :])
        return [line for line in lines if line.count(self.delimiter) == self.width - 1 and line]

    def parser(
        self,
        time: int | None,
        time_of: Callable[[bytes], int],
        values: tuple[int, ...],
        date: int | None = None,
    ) -> RowParser:
        """Return a parser of the table's rows; arguments as for `RowParser`."""
        style = self.decimal_comma, self.quoted
        return RowParser(self.delimiter, self.width, time, time_of, values, *style, date)


def find_layout(path: Path, head: list[bytes]) -> Layout:
    """Detect the layout of a table.

    Args:
        path: The file, for messages.
        head: Its first complete lines.

    Raises:
        Refused: It contains no rows of numbers.
    """
    lines = [(n, line.strip()) for n, line in enumerate(head) if line.strip()]
    lines = [(n, line) for n, line in lines if line[:1] not in b"#%"][:400]
    if not lines:
        raise Refused(f"{path}: it contains only comments; is this the right file?")
    # The second half, well below any header.
    body = [line for _, line in lines[len(lines) // 2 :]]
    delimiter = _delimiter(body)
    quoted = any(b'"' in line for line in body)
    comma = _has_decimal_commas(body, delimiter, quoted)
    table = [(n, normal(line, delimiter, comma, quoted).split(delimiter)) for n, line in lines]
    half = [cells for _, cells in table[len(table) // 2 :]]
    width = Counter(map(len, half)).most_common(1)[0][0]
    text = _text_columns([cells for cells in half if len(cells) == width], width)
    rows = [(n, cells) for n, cells in table if len(cells) == width and _numeric(cells, text)]
    if 2 * len(rows) < len(body):
        raise Refused(f"{path}: text, but not a table of numbers; {PLAYS}")
    first = rows[0][0]
    names = _names([cells for n, cells in table if n < first], width)
    return Layout(
        skip=first,
        delimiter=delimiter,
        header=bool(names),
        names=tuple(names or [f"column{c}" for c in range(width)]),
        decimal_comma=comma,
        first_advances=_advances([cells[0] for _, cells in rows]),
        quoted=quoted,
        text=text,
    )


def _text_columns(table: list[list[bytes]], width: int) -> tuple[int, ...]:
    words = [sum(_word(cells[c]) for cells in table) for c in range(width)]
    return tuple(c for c in range(width) if words[c] > TEXT * len(table))


def _has_decimal_commas(lines: list[bytes], delimiter: bytes, quoted: bool) -> bool:
    """Return whether some numbers have a decimal comma and none a decimal point."""
    if delimiter == b"," and not quoted:
        return False
    cells = [c for line in lines for c in _cells(line, delimiter, quoted)]
    points = any(re.fullmatch(rb"[+-]?\d*\.\d+", cell) for cell in cells)
    return not points and any(re.fullmatch(rb"[+-]?\d*,\d+", cell) for cell in cells)


def _cells(line: bytes, delimiter: bytes, quoted: bool) -> list[bytes]:
    if quoted and b'"' in line:
        read = csv.reader([line.decode("utf-8", "replace")], delimiter=delimiter.decode())
        return [cell.strip().encode() for cell in next(read, [])]
    return [cell.strip() for cell in (line.split() if delimiter == b" " else line.split(delimiter))]


def _names(above: list[list[bytes]], width: int) -> list[str]:
    """Return the column names: the line above the rows with as many cells and the most words."""
    likely = [cells for cells in above if abs(len(cells) - width) <= 1]
    top = max(likely, key=lambda cells: sum(map(_word, cells)), default=[])
    if not any(map(_word, top)):
        return []
    names = [cell.decode("utf-8", "replace").strip().strip("\"'").strip() for cell in top]
    return names[:width] + [f"column{c}" for c in range(len(names), width)]


def _delimiter(lines: list[bytes]) -> bytes:
    for delimiter in (b";", b"\t", b"|", b","):
        if sum(delimiter in line for line in lines) > len(lines) / 2:
            return delimiter
    if sum(len(line.split()) > 1 for line in lines) > len(lines) / 2:
        return b" "
    return b","


def _number(cell: bytes) -> float | None:
    ways: tuple[Callable[[bytes], float], ...] = (float, moment_reader(DateOrder(True, True)))
    for read in ways:
        with suppress(ValueError, OverflowError):
            return float(read(cell))
    return 0.0 if is_moment(cell) else None


def _word(cell: bytes) -> bool:
    return cell.strip().lower() not in MISSING and _number(cell) is None


def _numeric(cells: list[bytes], text: tuple[int, ...]) -> bool:
    """Return whether a row has at least one number or time and, outside `text`, no word."""
    inside = [cell for c, cell in enumerate(cells) if c not in text]
    known = [cell for cell in inside if cell.strip().lower() not in MISSING]
    return bool(known) and all(_number(cell) is not None for cell in known)


def _advances(cells: list[bytes]) -> bool:
    times = [_number(cell) for cell in cells]
    known = [t for t in times if t is not None]
    steps = [b - a for a, b in itertools.pairwise(known)]
    grows = bool(steps) and sum(step > 0 for step in steps) > 0.9 * len(steps)
    return grows and not all(step == 1 for step in steps)
