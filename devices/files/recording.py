"""Recording of any format: its properties and its blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS


@dataclass(frozen=True, slots=True, eq=False)
class RecordingBlock:
    """Consecutive samples of a recording, with the reference pressure and motion of the same span.

    Attributes:
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples, channels) float64; NaN marks a missing sample.
        reference_times: (references,) int64, ns, on the same clock; empty without a reference.
        reference: (references,) float64, arterial pressure, mmHg.
        motion_times: (motions,) int64, ns, on the same clock; empty without an accelerometer.
        motion: (motions, 3) float64, acceleration, g.
    """

    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]
    reference_times: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )
    reference: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    motion_times: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    motion: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))

    def with_more(self, more: RecordingBlock) -> RecordingBlock:
        """Return this block followed by another one."""
        pairs = zip(self._arrays(), more._arrays(), strict=True)
        return RecordingBlock(*(np.concatenate(pair) for pair in pairs))

    def from_row(self, row: int, reference: int, motion: int) -> RecordingBlock:
        """Return the block without its first samples, references and motions."""
        return RecordingBlock(
            self.times[row:],
            self.data[row:],
            self.reference_times[reference:],
            self.reference[reference:],
            self.motion_times[motion:],
            self.motion[motion:],
        )

    def within(self, low: int, high: int) -> RecordingBlock:
        """Return the samples with ``low <= time < high``, ns."""
        ppg = (self.times >= low) & (self.times < high)
        abp = (self.reference_times >= low) & (self.reference_times < high)
        acc = (self.motion_times >= low) & (self.motion_times < high)
        return RecordingBlock(
            *(self.times[ppg], self.data[ppg]),
            *(self.reference_times[abp], self.reference[abp]),
            *(self.motion_times[acc], self.motion[acc]),
        )

    def retimed(self, times: npt.NDArray[np.int64], start: int, stop: int) -> RecordingBlock:
        """Return some rows of a table at other times, (rows,) int64 ns, in all of its columns."""
        rows, times = slice(start, stop), times[start:stop]
        none = np.empty(0, np.int64)
        return RecordingBlock(
            *(times, self.data[rows]),
            *(times if len(self.reference) else none, self.reference[rows]),
            *(times if len(self.motion) else none, self.motion[rows]),
        )

    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        return (
            *(self.times, self.data, self.reference_times, self.reference),
            *(self.motion_times, self.motion),
        )


Notices = list[str]
"""Messages about unreadable parts, complete once the recording has been read."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Recording whose format and layout are known, but which has not been read yet.

    Attributes:
        format: Name of the format.
        model: Recording hardware; ``unknown`` if the file does not name it.
        channels: One label per column.
        rate: Hz, measured from its own times if it has them.
        polarity: See `Device`.
        site: See `Device`.
        start: Time of the first sample, ns since the Unix epoch.
        duration: Seconds; None if known only after reading the whole file.
        read: Function that yields its blocks from the beginning and appends to the notices.
        detail: Further properties for the ``connected`` event; plain JSON values.
        origin: First source of the samples as stated in the file: ``live`` or ``simulated``.
        motion_rate: Rate of the acceleration, Hz; 0 without any.
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
    origin: str = "live"
    motion_rate: float = 0.0


PLAYS = (
    "replay plays Polar logs, tables with a time column (or ?rate=HZ), Empatica and EmotiBit files,"
    " XDF, EDF, BDF, WFDB, MATLAB, HDF5, NumPy, Parquet, Feather, JSON lines, VitalDB, EmbracePlus"
    " Avro and BIOPAC files, sessions, and .npz records of PPG and pressure; also gzip, bzip2, zip"
)
"""Supported formats, for error messages about other files."""

NO_DATE = 946_684_800 * NS
"""2000-01-01, ns since the Unix epoch: assumed start of a recording without a date.

The file's modification time is not used, as copying changes it: replays must be reproducible.
"""


def iso_time(text: bytes) -> int:
    """Convert an ISO 8601 time to ns since the Unix epoch.

    Without a time zone, UTC is assumed; without a date, the day of `NO_DATE`.

    Raises:
        ValueError: Not an ISO 8601 time.
    """
    written = text.decode("ascii", "replace").strip().replace("/", "-")
    if written[2:3] == ":":
        written = f"2000-01-01T{written}"
    moment = datetime.fromisoformat(written)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


LATEST = 9_000_000_000 * NS
"""2255-03-14, ns since the Unix epoch: the time of a later sample might not fit int64."""
DAY = 86_400 * NS


def moved_date(first: int) -> int:
    """Return the shift, ns, that moves a later date than `LATEST` to the day of `NO_DATE`, else 0.

    Such dates hide the true one. The time of day is kept.

    Args:
        first: Time of the first sample, ns since the Unix epoch; may exceed int64.
    """
    return NO_DATE - first // DAY * DAY if first > LATEST else 0


def moved_text(name: str) -> str:
    """Return the notice about a moved date."""
    return f"{name}: its dates lie beyond the year 2255; they were moved to begin on 2000-01-01"


def measured_rate(times: npt.NDArray[np.int64]) -> float:
    """Return the sampling rate of `times`, Hz, ignoring holes and backward steps; NaN if none.

    Args:
        times: (samples,) int64, ns.
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    if not len(steps):
        return float("nan")
    usual = np.median(steps)
    return float(1e9 / steps[(steps > 0.5 * usual) & (steps < 1.5 * usual)].mean())
