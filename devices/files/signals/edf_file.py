"""EDF, EDF+ and BDF files, common in hospitals and sleep laboratories."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import unpacked
from innpar.devices.files.recording import NO_DATE, Recording
from innpar.devices.files.signals.edf_records import record_starts
from innpar.devices.files.signals.trace_choice import Trace, TraceContent
from innpar.devices.files.signals.traces import recording_of

OURS = "innpar-stream"
"""Field of the header of files that we exported."""
EDF_MAGIC, BDF_MAGIC = b"0       ", b"\xffBIOSEMI"


def open_edf(path: Path, options: dict[str, str], *, wide: bool) -> Recording:
    """Open an EDF or BDF file.

    Args:
        path: The file, optionally gzip-compressed.
        options: See `traces.OPTIONS`.
        wide: Whether it is BDF, with 24-bit samples.

    Raises:
        Refused: It is damaged, contains no PPG, or edfio is not installed.
    """
    try:
        import edfio
    except ImportError:
        raise Refused(f"{path}: EDF needs edfio; run scripts/setup import") from None
    with unpacked(path) as plain:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # damage that matters is reported by us
                file = (edfio.read_bdf if wide else edfio.read_edf)(plain)
                traces, early = _traces(plain, file, 3 if wide else 2)
        except Exception as error:  # whatever edfio raises, the file is at fault
            raise Refused(f"{path}: a damaged EDF file ({error}); copy it again") from None
    origin = "simulated" if "simulated" in _stated(file) else "live"
    name = "BDF" if wide else "EDF"
    return recording_of(path, name, "unknown", traces, options, incomplete=early, origin=origin)


def _traces(path: Path, file: Any, width: int) -> tuple[list[Trace], bool]:
    """Return the signals, and whether the file ends before the length in its header."""
    with path.open("rb") as stream:
        promised = int(stream.read(244)[236:])
    records = int(file.num_data_records)
    zero = _ns(_began(file), file.starttime)
    starts = record_starts(path, records, width)
    rates = [signal.sampling_frequency for signal in file.signals]
    content, filling = _content(file), _filling(file)
    traces = []
    for rate, signal in zip(rates, file.signals, strict=True):
        data = np.asarray(signal.data, np.float64)
        seconds = np.arange(len(data)) / rate
        if starts is not None:
            each = len(data) // records
            seconds = (starts[:, None] + np.arange(each) / rate).ravel()
        if filling:  # one of our segments, whose samples are `measured` Hz apart
            data = data[: len(data) - filling[0]]
            seconds = np.arange(len(data)) / filling[1]
        since = np.rint(seconds * NS).astype(np.int64)
        group, unit = rates.index(rate), str(signal.physical_dimension)
        traces.append(Trace(signal.label, since + zero, data, group, unit, "", content))
    return traces, promised < 0 or promised > records


def _stated(file: Any) -> tuple[str, ...]:
    """Return the fields of the header by which our exports say what they hold."""
    try:
        fields = tuple(str(field) for field in file.recording.additional)
    except ValueError:
        return ()
    return fields if OURS in fields else ()


def _filling(file: Any) -> tuple[int, float] | None:
    """Return the number of samples by which our export filled its last record, and its rate, Hz."""
    if not _stated(file):
        return None
    texts = [str(note.text) for note in file.annotations]
    ends = [m for text in texts if (m := re.fullmatch(r"end of samples; (\d+) more.*", text))]
    rates = [m for text in texts if (m := re.fullmatch(r"measured rate ([\d.]+) Hz", text))]
    return (int(ends[0][1]) if ends else 0, float(rates[0][1])) if rates else None


def _content(file: Any) -> TraceContent:
    stated = _stated(file)
    if "estimate" in stated:
        return "estimate"
    return "measured" if "abp" in stated else ""


def _began(file: Any) -> datetime | None:
    import edfio

    try:
        day = file.startdate
    except (edfio.AnonymizedDateError, ValueError):
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _ns(day: datetime | None, moment: time) -> int:
    midnight = NO_DATE if day is None else int(day.timestamp()) * NS
    whole = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return midnight + whole * NS + moment.microsecond * 1000
