"""What a recording is, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS


@dataclass(frozen=True, slots=True, eq=False)
class RecordingBlock:
    """Some seconds of a recording.

    Attributes:
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples, channels) float64; NaN where the file says that a sample is missing.
        reference_times: (references,) int64, ns, on the same clock; empty without a reference.
        reference: (references,) arterial pressure, mmHg.
    """

    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]
    reference_times: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )
    reference: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


Notices = list[str]
"""What could not be read of the recording, once it has been: rows skipped, and the like."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording that has been looked at, but not read.

    Attributes:
        format: Name of the format.
        model: What recorded it, as far as known.
        channels: One label a column.
        rate: Hz, as measured on its own times where it has them.
        polarity: As for `Device`.
        site: As for `Device`.
        start: Time of the first sample, ns since the Unix epoch.
        duration: Seconds; None where that is known only after reading it all.
        read: Reads it from its beginning, block by block, adding to the notices.
        detail: More that is known; plain JSON values.
    """

    format: str
    model: str
    channels: tuple[str, ...]
    rate: float
    polarity: Literal[-1, 0, 1]
    site: str
    start: int
    duration: float | None
    read: Callable[[Notices], Iterator[RecordingBlock]]
    detail: Mapping[str, object] = field(default_factory=dict)


PLAYS = (
    "replay plays Polar logs, tables with a time column (or ?rate=HZ), Empatica and EmotiBit files,"
    " XDF, EDF, BDF and WFDB files, sessions, and .npz records of PPG and pressure"
)
"""For whoever named something else."""

NO_DATE = 946_684_800 * NS
"""2000-01-01, ns since the Unix epoch: when a recording that names no date is taken to begin.

Not the file's own time, which a copy changes: a replay must publish the same times everywhere.
"""


def iso_time(text: bytes) -> int:
    """Return an ISO 8601 moment in ns since the Unix epoch.

    Without a time zone it is UTC, without a date it is on the day of `NO_DATE`.

    Raises:
        ValueError: Not such a moment.
    """
    written = text.decode("ascii", "replace").strip().replace("/", "-")
    if written[2:3] == ":":
        written = f"2000-01-01T{written}"
    moment = datetime.fromisoformat(written)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def measured_rate(times: npt.NDArray[np.int64]) -> float:
    """Return the sampling rate of `times`, Hz, holes and steps back left out; NaN if there is none.

    Args:
        times: (samples,) int64, ns.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return float("nan")
    usual = np.median(steps)
    return float(1e9 / steps[(steps > 0.5 * usual) & (steps < 1.5 * usual)].mean())
