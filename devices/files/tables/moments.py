"""Dates and times as tables write them: ISO 8601, US and German dates, times of day."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from innpar.devices.base import NS
from innpar.devices.files.recording import iso_time

_DATE = r"(?P<a>\d{1,4})(?P<sep>[-/.])(?P<b>\d\d?)[-/.](?P<c>\d{4}|\d\d)"
_CLOCK = r"(?P<h>\d+):(?P<m>\d\d)(?::(?P<s>\d\d))?(?:[.,](?P<f>\d+))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_ZONE = r"\s*(?P<zone>Z|[+-]\d\d:?\d\d)?"
_WRITTEN = (
    re.compile(rf"{_DATE}(?:(?:T|,?\s+){_CLOCK}{_ZONE})?"),
    re.compile(rf"{_CLOCK}{_ZONE}(?:\s+{_DATE})?"),
)
_TWO_DIGITS = 2000
"""Century of a year of two digits."""


@dataclass(frozen=True, slots=True)
class DateOrder:
    """Order of a table's dates.

    Attributes:
        day_first: Whether 05/04 is the 5th of April.
        unclear: Whether the dates do not show it.
    """

    day_first: bool
    unclear: bool


def date_order(cells: Sequence[bytes]) -> DateOrder:
    """Return the order of day and month in the dates of some cells."""
    found = [m for cell in cells if (m := _match(cell)) and m["sep"] and len(m["a"]) < 4]
    if not found or found[0]["sep"] == ".":
        return DateOrder(True, False)
    if any(int(m["a"]) > 12 for m in found):
        return DateOrder(True, False)
    return DateOrder(False, not any(int(m["b"]) > 12 for m in found))


def is_moment(cell: bytes) -> bool:
    """Return whether a cell is a date or a time, and not a plain number."""
    return _match(cell) is not None


def moment_reader(order: DateOrder) -> Callable[[bytes], int]:
    """Return a function from a cell to ns since the Unix epoch; see `iso_time`.

    A time since the start may be written ``minutes:seconds.fraction``.
    """

    def read(cell: bytes) -> int:
        found = _match(cell)
        if found is None or len(found["a"] or "") == 4:
            return iso_time(cell.strip(_WRAPPING))
        return _date(found, order) + _clock(found)

    return read


_WRAPPING = b" '\"[]"


def _match(cell: bytes) -> re.Match[str] | None:
    text = cell.strip(_WRAPPING).decode("ascii", "replace")
    return next((m for pattern in _WRITTEN if (m := pattern.fullmatch(text))), None)


def _date(found: re.Match[str], order: DateOrder) -> int:
    if found["a"] is None:
        return iso_time(b"2000-01-01")
    a, b, year = int(found["a"]), int(found["b"]), int(found["c"])
    day, month = (a, b) if order.day_first else (b, a)
    year += _TWO_DIGITS if len(found["c"]) == 2 else 0
    return round(datetime(year, month, day, tzinfo=UTC).timestamp()) * NS


def _clock(found: re.Match[str]) -> int:
    if found["h"] is None:
        return 0
    high, low, fraction = int(found["h"]), int(found["m"]), found["f"] or "0"
    part = int(fraction[:9].ljust(9, "0"))
    if found["s"] is None and found["f"]:
        return (high * 60 + low) * NS + part
    if found["half"]:
        high = high % 12 + 12 * (found["half"][0] in "pP")
    return ((high * 60 + low) * 60 + int(found["s"] or 0)) * NS + part - _offset(found["zone"])


def _offset(zone: str | None) -> int:
    if zone in (None, "Z"):
        return 0
    digits = zone.replace(":", "")
    minutes = int(digits[1:3]) * 60 + int(digits[3:5])
    return (-minutes if zone[0] == "-" else minutes) * 60 * NS
