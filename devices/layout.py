"""How a table of text is laid out: header, delimiter, columns."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .base import Refused
from .recording import iso_time
from .rows import RowParser


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is laid out.

    Attributes:
        skip: Lines before the first row.
        delimiter: Between cells; one blank stands for any white space.
        header: Whether the table names its columns.
        names: One a column; made up where the table does not name them.
        decimal_comma: Whether 1,5 means 1.5.
        first_advances: Whether the first column looks like times: it only grows, and not by ones.
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
        """Return the rows among the file's first lines, white space and commas made regular."""
        lines = (_plain(line, self.delimiter, self.decimal_comma) for line in head[self.skip :])
        return [line for line in lines if line.count(self.delimiter) == self.width - 1 and line]

    def parser(
        self, time: int | None, time_of: Callable[[bytes], int], values: tuple[int, ...]
    ) -> RowParser:
        return RowParser(self.delimiter, self.width, time, time_of, values, self.decimal_comma)


def find_layout(path: Path, head: list[bytes]) -> Layout:
    """Return the layout of the table that begins with `head`.

    Raises:
        Refused: There are no rows of numbers in it.
    """
    skip = 0
    while skip < len(head) and (not head[skip].strip() or head[skip].lstrip()[:1] in b"#%"):
        skip += 1
    lines = [line.strip() for line in head[skip : skip + 200] if line.strip()]
    if not lines:
        raise Refused(f"{path}: there is nothing in it but comments; is this the right file?")
    # The header may be laid out a little differently from the rows (no delimiter at its end).
    body = lines[1:] or lines
    delimiter = _delimiter(body)
    decimal_comma = delimiter == b";" and all(b"," in line and b"." not in line for line in body)
    rows = [_plain(line, delimiter, decimal_comma).split(delimiter) for line in body]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [cells for cells in rows if len(cells) == width and _numeric(cells)]
    if len(rows) < max(1, len(body) // 2):
        raise Refused(
            f"{path}: this is text, but no table of numbers; the formats known are listed by "
            "'innpar-stream devices'"
        )
    top = _plain(lines[0], delimiter, decimal_comma).split(delimiter)
    header = not _numeric(top)
    names = [cell.decode("utf-8", "replace").strip().strip('"') for cell in top] if header else []
    names = names[:width] + [f"column{c}" for c in range(len(names), width)]
    return Layout(
        skip=skip + (1 if header else 0),
        delimiter=delimiter,
        header=header,
        names=tuple(names),
        decimal_comma=decimal_comma,
        first_advances=_advances([cells[0] for cells in rows]),
    )


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
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        return float(iso_time(cell))
    except ValueError:
        return None


def _numeric(cells: list[bytes]) -> bool:
    """Return whether a row holds at least one number or time and no other word."""
    words = [cell for cell in cells if cell.strip() and _number(cell) is None]
    missing = {b"nan", b"na", b"n/a", b"null", b"none", b"-", b"?"}
    return len(words) < len(cells) and all(word.strip().lower() in missing for word in words)


def _advances(cells: list[bytes]) -> bool:
    times = [_number(cell) for cell in cells]
    known = [t for t in times if t is not None]
    steps = [b - a for a, b in itertools.pairwise(known)]
    grows = bool(steps) and sum(step > 0 for step in steps) > 0.9 * len(steps)
    return grows and not all(step == 1 for step in steps)
