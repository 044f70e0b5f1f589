"""Recordings from named arrays, whatever container they come from.

The rate follows from ``?rate=``, a number named like one (``fs``, ``sampling_rate``) or an array of
times. Arrays of one length are sampled together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.recording import NO_DATE, Recording
from innpar.devices.files.signals.trace_choice import Trace
from innpar.devices.files.signals.traces import OPTIONS, recording_of
from innpar.devices.files.tables.table_times import SCALES, is_time, unit_of
from innpar.devices.options import Options

ARRAY_OPTIONS = {
    "rate": "sampling rate in Hz, if the file has neither a rate nor times",
    "unit": "unit of the times: s, ms, us, ns, min or h",
    "record": "number, from 0, of the record in a file of many",
}
MOST_RECORDS = 1_000_000
FEWEST = 50
"""Samples of the shortest array that is taken for a signal."""
_RATE = re.compile(r"(?:^|[\W_])(fs|srate|rate|freq|frequency|hz|samplingrate|samplerate)$", re.I)


def record_number(path: Path, options: Mapping[str, str]) -> int:
    """Return the option ``record``; 0 if it was not given."""
    given = {k: v for k, v in options.items() if k == "record"}
    return Options(str(path), given, ARRAY_OPTIONS).whole("record", 0, MOST_RECORDS) or 0


def open_arrays(
    path: Path,
    format_: str,
    arrays: Mapping[str, Any],
    options: dict[str, str],
    *,
    origin: str = "live",
) -> Recording:
    """Return named arrays as a recording.

    Args:
        path: The file, for messages.
        format_: Name of its format.
        arrays: Name → number or array of one or two dimensions, the longer one being time.
        options: Those of `ARRAY_OPTIONS` and of `traces.OPTIONS`.
        origin: See `Recording`.

    Raises:
        Refused: There is no light among them, or no rate.
    """
    mine = {k: v for k, v in options.items() if k in ARRAY_OPTIONS}
    chosen = Options(str(path), mine, ARRAY_OPTIONS)
    rest = {k: v for k, v in options.items() if k not in ARRAY_OPTIONS}
    Options(str(path), rest, {**OPTIONS, **ARRAY_OPTIONS})
    columns = _columns(arrays)
    rate = chosen.number("rate", 1.0, 10_000.0) or _stated_rate(arrays)
    traces: list[Trace] = []
    for group, length in enumerate(dict.fromkeys(map(len, columns.values()))):
        alike = {name: values for name, values in columns.items() if len(values) == length}
        times = _times(alike, rate, chosen.choice("unit", SCALES))
        if times is not None:
            traces += [Trace(n, times, v, group) for n, v in alike.items() if not is_time(n)]
    if columns and not traces:
        raise Refused(f"{path}: arrays without a sampling rate; add ?rate=HZ")
    return recording_of(path, format_, "unknown", traces, rest, origin=origin, trusted=False)


def _columns(arrays: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    columns: dict[str, npt.NDArray[np.float64]] = {}
    for name, given in arrays.items():
        array = np.squeeze(np.asarray(given))
        if array.dtype.kind == "M":
            array = array.astype("datetime64[ns]").astype(np.int64)
        if array.dtype.kind not in "iufb" or array.ndim not in (1, 2) or max(array.shape) < FEWEST:
            continue
        if array.ndim == 1:
            columns[name] = array.astype(np.float64)
        elif min(array.shape) <= 64:
            rows = array if array.shape[0] < array.shape[1] else array.T
            columns |= {f"{name} {n}": row.astype(np.float64) for n, row in enumerate(rows)}
    return columns


def _stated_rate(arrays: Mapping[str, Any]) -> float | None:
    for name, given in arrays.items():
        value = np.asarray(given)
        if value.size == 1 and value.dtype.kind in "iuf" and _RATE.search(name):
            rate = float(value.ravel()[0])
            return rate if 1.0 <= rate <= 10_000.0 else None
    return None


def _times(
    columns: Mapping[str, npt.NDArray[np.float64]], rate: float | None, unit: str | None
) -> npt.NDArray[np.int64] | None:
    """Return times, ns since the Unix epoch, from an array of them or from a rate."""
    name = next((name for name in columns if is_time(name)), None)
    if rate is not None or name is None:
        count = len(next(iter(columns.values())))
        since = None if rate is None else np.arange(count) * (NS / rate)
        return None if since is None else np.rint(since).astype(np.int64) + NO_DATE
    unit = unit or unit_of(name, columns[name])
    if unit is None:
        return None
    since = columns[name] * SCALES[unit]
    dated = float(np.median(since)) > 1e8 * NS
    times: npt.NDArray[np.int64] = np.rint(since).astype(np.int64) + (0 if dated else NO_DATE)
    return times
