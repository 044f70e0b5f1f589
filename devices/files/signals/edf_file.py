"""EDF, EDF+ and BDF files, common in hospitals and sleep laboratories."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import unpacked
from innpar.devices.files.recording import NO_DATE, Recording
from innpar.devices.files.signals.traces import Trace, recording_of

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
                traces, early = _traces(plain, edfio.read_bdf if wide else edfio.read_edf)
        except Exception as error:  # whatever edfio raises, the file is at fault
            raise Refused(f"{path}: a damaged EDF file ({error}); copy it again") from None
    return recording_of(
        path, "BDF" if wide else "EDF", "unknown", traces, options, incomplete=early
    )


def _traces(path: Path, read: Callable[[Path], Any]) -> tuple[list[Trace], bool]:
    """Return the signals, and whether the file ends before the length in its header."""
    with path.open("rb") as stream:
        promised = int(stream.read(244)[236:])
    file = read(path)
    began, moment = _began(file), file.starttime
    zero = _ns(began, moment)
    rates = [signal.sampling_frequency for signal in file.signals]
    traces = []
    for rate, signal in zip(rates, file.signals, strict=True):
        since = np.rint(np.arange(len(signal.data)) * (NS / rate)).astype(np.int64)
        data = np.asarray(signal.data, np.float64)
        traces.append(Trace(signal.label, since + zero, data, rates.index(rate)))
    return traces, promised < 0 or promised > file.num_data_records


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
