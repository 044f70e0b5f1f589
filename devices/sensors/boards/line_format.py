"""Lines of numbers as boards print them: labels, numbers and the unit of a time. No I/O."""

from __future__ import annotations

import json
import math
import re

from innpar.devices.base import NS

UNITS = {"ms": 1_000_000, "us": 1000, "ns": 1, "s": NS}
_UNIT = (
    "milliseconds|microseconds|nanoseconds|seconds|millis|micros|nanos|msec|usec|sec|ms|us|µs|ns|s"
)
_TIME = re.compile(
    r"(?:t|time|timestamp|elapsed|clock|millis|micros|ms|us|secs?|seconds)"
    rf"(?:(?:[_ ]+|(?=[\[(]))[\[(]?(?P<unit>{_UNIT})[\])]?)?"
)
_WORDS = {
    **dict.fromkeys(("ms", "millis", "msec", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "µs", "micros", "usec", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nanos", "nanoseconds"), "ns"),
    **dict.fromkeys(("s", "sec", "secs", "seconds"), "s"),
}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[nN]a[nN]"
_LABEL = r"[A-Za-z_]\w*(?:\s?[\[(][A-Za-zµ/%]+[\])])?"
_ITEM = re.compile(
    rf"\s*(?:((?:[A-Za-z_]\w* )*{_LABEL})\s*[:=\[]\s*)?({_NUMBER})\s*\]?\s*(?:[,;\s]|$)"
)
_NAMES = re.compile(rf"\s*{_LABEL}(?:\s*[,;\t]\s*{_LABEL})*\s*")
_PULSE_SENSOR = re.compile(r"([SBQ])(-?\d+)")

Line = tuple[tuple[str, ...], tuple[float, ...]]


def parse(text: str) -> Line | None:
    """Return labels (empty if missing) and numbers; None for any other line.

    Of PulseSensor's lines ``S512``, ``B72`` and ``Q833`` only the first is a sample; the others,
    beats and intervals, have no numbers here.
    """
    if text.startswith("{"):
        return _parse_json(text)
    if letter := _PULSE_SENSOR.fullmatch(text):
        return (("signal",), (float(letter[2]),)) if letter[1] == "S" else ((), ())
    labels, values, at = [], [], 0
    while at < len(text):
        item = _ITEM.match(text, at)
        if item is None:
            return None
        labels.append((item[1] or "").lower())
        values.append(_number(float(item[2])))
        at = item.end()
    return (tuple(labels), tuple(values)) if values else None


def _parse_json(text: str) -> Line | None:
    """Return the numbers of a JSON object; None if it has none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    numbers = {
        key.lower(): _number(value)
        for key, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return (tuple(numbers), tuple(numbers.values())) if numbers else None


def _number(value: float) -> float:
    """Return a number; NaN for one that is infinite or too large."""
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a line of names, in lower case; empty for any other line."""
    if not _NAMES.fullmatch(text) or not re.search("[,;\t]", text):
        return ()
    return tuple(re.split(r"\s*[,;\t]\s*", text.strip().lower()))


def unit_of_time(label: str) -> str | None:
    """Return the unit, a key of `UNITS`, of a column of times; empty if its name has none.

    None for any other column.
    """
    found = _TIME.fullmatch(label.strip().lower())
    if found is None:
        return None
    return _WORDS.get(found["unit"] or label.strip().lower(), "")
