"""Layout detection of a text table: header, delimiter, columns."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from innpar.devices.base import Refused
from innpar.devices.files.recording import PLAYS, iso_time
from innpar.devices.files.tables.rows import MISSING, RowParser


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
    """

    skip: int
    delimiter: bytes
    header: bool
    names: tuple[str, ...]
    decimal_comma: bool
    first_advances: bool

    @property
    def width(self) -> int:
        return len(self.names)

    def rows(self, head: list[bytes]) -> list[bytes]:
        """Return the rows among the file's first lines, with white space and commas normalised."""
        lines = (_plain(line, self.delimiter, self.decimal_comma) for line in head[self.skip :])
        return [line for line in lines if line.count(self.delimiter) == self.width - 1 and line]

    def parser(
        self, time: int | None, time_of: Callable[[bytes], int], values: tuple[int, ...]
    ) -> RowParser:
        """Return a parser of the table's rows; arguments as for `RowParser`."""
        return RowParser(self.delimiter, self.width, time, time_of, values, self.decimal_comma)


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
    decimal_comma = delimiter == b";" and all(b"," in line and b"." not in line for line in body)
    table = [(n, _plain(line, delimiter, decimal_comma).split(delimiter)) for n, line in lines]
    width = Counter(len(cells) for _, cells in table[len(table) // 2 :]).most_common(1)
    rows = [(n, cells) for n, cells in table if len(cells) == width[0][0] and _numeric(cells)]
    if 2 * len(rows) < len(body):
        raise Refused(f"{path}: text, but not a table of numbers; {PLAYS}")
    first = rows[0][0]
    names = _names([cells for n, cells in table if n < first], width[0][0])
    return Layout(
        skip=first,
        delimiter=delimiter,
        header=bool(names),
        names=tuple(names or [f"column{c}" for c in range(width[0][0])]),
        decimal_comma=decimal_comma,
        first_advances=_advances([cells[0] for _, cells in rows]),
    )


def _names(above: list[list[bytes]], width: int) -> list[str]:
    """Return the column names: the line above the rows with as many cells and the most words."""
    likely = [cells for cells in above if abs(len(cells) - width) <= 1]
    top = max(likely, key=lambda cells: sum(map(_word, cells)), default=[])
    if not any(map(_word, top)):
        return []
    names = [cell.decode("utf-8", "replace").strip().strip('"') for cell in top]
    return names[:width] + [f"column{c}" for c in range(len(names), width)]


def _plain(line: bytes, delimiter: bytes, decimal_comma: bool) -> bytes:
    if decimal_comma:
        line = line.replace(b",", b".")
    return b" ".join(line.split()) if delimiter == b" " else line.strip()


def _delimiter(lines: list[bytes]) -> bytes:
    for delimiter in (b";", b"\t", b","):
        if sum(delimiter in line for line in lines) > len(lines) / 2:
            return delimiter
    if sum(len(line.split()) > 1 for line in lines) > len(lines) / 2:
        return b" "
    return b","


def _number(cell: bytes) -> float | None:
    ways: tuple[Callable[[bytes], float], ...] = (float, iso_time)
    for read in ways:
        with suppress(ValueError):
            return float(read(cell))
    return None


def _word(cell: bytes) -> bool:
    return cell.strip().lower() not in MISSING and _number(cell) is None


def _numeric(cells: list[bytes]) -> bool:
    """Return whether a row has at least one number or time and no word."""
    known = [cell for cell in cells if cell.strip().lower() not in MISSING]
    return bool(known) and all(_number(cell) is not None for cell in known)


def _advances(cells: list[bytes]) -> bool:
    times = [_number(cell) for cell in cells]
    known = [t for t in times if t is not None]
    steps = [b - a for a, b in itertools.pairwise(known)]
    grows = bool(steps) and sum(step > 0 for step in steps) > 0.9 * len(steps)
    return grows and not all(step == 1 for step in steps)
