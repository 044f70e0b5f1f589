"""XDF files of the Lab Streaming Layer (https://github.com/sccn/xdf/wiki)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import unpacked
from innpar.devices.files.recording import NO_DATE, Recording, iso_time
from innpar.devices.files.signals.traces import Trace, recording_of

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
            streams, header = pyxdf.load_xdf(str(plain), verbose=False)
            traces = _traces(streams, header)
        except Exception as error:  # whatever pyxdf raises, the file is at fault
            raise Refused(
                f"{path}: a damaged XDF file ({error}); record or copy it again"
            ) from None
    early = bool(errors) or any("footer" not in stream for stream in streams)
    return recording_of(path, "XDF", "LSL", traces, options, incomplete=early)


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
        since = np.rint(stamps[sane] * NS).astype(np.int64)
        values = np.asarray(stream["time_series"], np.float64)[sane]
        for column, label in enumerate(_labels(stream["info"], values.shape[1])):
            traces.append(Trace(label, since + zero, values[:, column], group))
    return traces


def _date(header: dict[str, Any]) -> int:
    for text in (header.get("info") or {}).get("datetime") or ():
        # Offsets are written without a colon.
        written = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", str(text))
        try:
            return iso_time(written.encode())
        except ValueError:
            continue
    return NO_DATE


def _labels(info: dict[str, Any], count: int) -> list[str]:
    """Return the channels' labels, prefixed with the stream's type if they do not contain it."""
    kind = str((info.get("type") or [""])[0])
    try:
        channels = info["desc"][0]["channels"][0]["channel"]
        labels = [str(channel["label"][0]) for channel in channels]
    except (KeyError, IndexError, TypeError):
        labels = []
    if len(labels) != count:
        labels = [str(n) for n in range(count)]
    return [label if kind.lower() in label.lower() else f"{kind} {label}" for label in labels]
