"""XDF files of the Lab Streaming Layer (https://github.com/sccn/xdf/wiki)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import unpacked
from innpar.devices.files.recording import NO_DATE, Recording, iso_time
from innpar.devices.files.signals.trace_choice import Trace, TraceContent
from innpar.devices.files.signals.traces import recording_of
from innpar.devices.timing.dejitter import Dejitter

OURS = "innpar-stream"
"""Manufacturer of our exports and of our LSL streams."""
RESET = 60 * NS
"""Step, ns, beyond which a clock was reset or the recording paused."""
MAGIC = b"XDF:"
LONGEST = 3e9
"""s. Largest plausible time stamp, even of a clock that counts from 1970."""


def open_xdf(path: Path, options: dict[str, str]) -> Recording:
    """Open an XDF file.

    LSL's clock counts from the computer's start, so the recording begins at the date of the header,
    or at `NO_DATE` without one.

    Args:
        path: The file, optionally gzip-compressed.
        options: See `traces.OPTIONS`.

    Raises:
        Refused: It is damaged, contains no PPG, or pyxdf is not installed.
    """
    try:
        import pyxdf  # type: ignore[import-untyped]  # it ships none
    except ImportError:
        raise Refused(f"{path}: XDF needs pyxdf; run scripts/setup import") from None
    with unpacked(path) as plain, _logged_errors() as errors:
        try:
            streams, header = pyxdf.load_xdf(str(plain), dejitter_timestamps=False, verbose=False)
            traces = _traces(streams, header)
        except Exception as error:  # whatever pyxdf raises, the file is at fault
            raise Refused(
                f"{path}: a damaged XDF file ({error}); record or copy it again"
            ) from None
    early = bool(errors) or any("footer" not in stream for stream in streams)
    simulated = any(_text(s["info"], "desc", "source") == "simulated" for s in streams)
    origin = "simulated" if simulated else "live"
    return recording_of(
        path, "XDF", "LSL", traces, options, incomplete=early, origin=origin, trusted=False
    )


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Keep pyxdf's log from the terminal while inside; yield a list that collects its errors."""
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pyxdf")
    passed, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
        logger.propagate = passed


def _traces(streams: list[dict[str, Any]], header: dict[str, Any]) -> list[Trace]:
    numeric = [s for s in streams if isinstance(s["time_series"], np.ndarray)]
    numeric = [s for s in numeric if len(s["time_stamps"]) > 1]
    starts = (float(s["time_stamps"][0]) for s in numeric)
    first = min((start for start in starts if abs(start) < LONGEST), default=0.0)
    zero = _date(header)
    traces: list[Trace] = []
    for group, stream in enumerate(numeric):
        stamps = np.asarray(stream["time_stamps"], np.float64) - first
        sane = np.abs(stamps) < LONGEST  # in a damaged file, stamps can have any value
        times = _times(np.rint(stamps[sane] * NS).astype(np.int64), stream["info"]) + zero
        values = np.asarray(stream["time_series"], np.float64)[sane]
        about = _text(stream["info"], "type"), _content(stream["info"])
        for column, (label, unit) in enumerate(_labels(stream["info"], values.shape[1])):
            traces.append(Trace(label, times, values[:, column], group, unit, *about))
    return traces


def _times(stamps: npt.NDArray[np.int64], info: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Return sample times by the same loop as for live streams, anew where a clock was reset."""
    nominal = float(_text(info, "nominal_srate") or 0.0)
    steps = np.diff(stamps)
    resets = np.flatnonzero((steps < -RESET) | (steps > RESET)) + 1
    placed = []
    for part in np.split(stamps, resets):
        loop = Dejitter(nominal)
        runs = [*loop.push(part), *loop.flush()]
        times = np.concatenate([part[:0], *(run.times for run in runs)])
        placed.append(times if len(times) == len(part) else part)
    return np.concatenate(placed)


def _content(info: dict[str, Any]) -> TraceContent:
    """Return what our exports and our LSL streams state of a pressure; see `TraceContent`."""
    if _text(info, "desc", "acquisition", "manufacturer") != OURS or _text(info, "type") != "ABP":
        return ""
    return "measured" if _text(info, "desc", "pressure") == "measured" else "estimate"


def _text(info: Any, *path: str) -> str:
    """Return the text of an element, each level of which is a list of one; empty without it."""
    for name in path:
        info = (info.get(name) or [""])[0] if isinstance(info, dict) else ""
    return str(info or "")


def _date(header: dict[str, Any]) -> int:
    for text in (header.get("info") or {}).get("datetime") or ():
        # Offsets are written without a colon.
        written = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", str(text))
        try:
            return iso_time(written.encode())
        except ValueError:
            continue
    return NO_DATE


def _labels(info: dict[str, Any], count: int) -> list[tuple[str, str]]:
    """Return label and unit of the channels; labels begin with the stream's type if without it."""
    kind = _text(info, "type")
    try:
        channels = info["desc"][0]["channels"][0]["channel"]
        found = [(str(c["label"][0]), str((c.get("unit") or [""])[0])) for c in channels]
    except (KeyError, IndexError, TypeError):
        found = []
    if len(found) != count:
        found = [(str(n), "") for n in range(count)]
    return [(x if kind.lower() in x.lower() else f"{kind} {x}", unit) for x, unit in found]
