"""One gap-free segment as EDF+ or BDF+.

Kemp B, Olivan J. European data format 'plus' (EDF+), an EDF alike standard format for the exchange
of physiological data. Clin Neurophysiol 2003. doi:10.1016/S1388-2457(03)00123-8
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Event
from innpar.devices.files.signals.edf_file import OURS
from innpar.devices.session.contents import source_of
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.strict_json import strict_json
from innpar.stream.errors import SessionError
from innpar.stream.messages.encoding import iso
from innpar.stream.messages.hygiene import printable
from innpar.stream.session.events import events_of
from innpar.stream.session.export.content import (
    UNITS,
    PlacedSignal,
    known_of,
    placed,
    plain,
)

if TYPE_CHECKING:
    from edfio import Bdf, Edf

YEARS = 1985, 2084
"""First and last year of a date."""
VALUES = -9_999_998.0, 99_999_998.0
"""Lowest and highest physical value: a limit of a signal has eight characters."""
LSB16, LSB24 = (1 << 16) - 1, (1 << 24) - 1
_LABEL = 16
"""Characters of a signal's label."""
_CODE = 32
"""Characters of a subject's or a device's code: each header field has 80."""


def limit(first: int, last: int, low: float, high: float) -> str:
    """Return why EDF cannot hold a signal; empty where it can.

    Args:
        first: Time of the first sample, ns since the Unix epoch.
        last: Time of the last one.
        low: Lowest value.
        high: Highest value.
    """
    for time in (first, last):
        if not YEARS[0] <= (year := datetime.fromtimestamp(time // NS, UTC).year) <= YEARS[1]:
            return f"EDF holds dates from {YEARS[0]} to {YEARS[1]}, not {year}"
    if low < VALUES[0] or high > VALUES[1]:
        return f"EDF holds values from {VALUES[0]:.0f} to {VALUES[1]:.0f}, not {low:g} to {high:g}"
    return ""


def to_edf(file: SessionFile, folder: Path) -> int:
    """Write one EDF+ or BDF+ file per gap-free segment of a signal; return the number of files.

    Integers that need more than 16 bits go into BDF+, whose 24 bits hold them exactly. The format
    has whole data records only; the last one is padded with its last sample, and an annotation
    marks the end of the samples.
    """
    files, events, known = 0, events_of(file), known_of(file)
    for place in placed(file):
        segment = place.segment
        about = known.get(segment.device, {})
        subject = str(about.get("subject", ""))
        content = edf(place, events.get(segment.device, []), subject, source_of(about))
        suffix = "bdf" if type(content).__name__ == "Bdf" else "edf"
        path = folder / f"{segment.device}-{segment.signal}-{segment.number:03d}.{suffix}"
        content.write(path)
        settle(path, 3 if suffix == "bdf" else 2)
        files += 1
    return files


def edf(
    place: PlacedSignal, events: Sequence[Event], subject: str = "", source: str = "unknown"
) -> Edf | Bdf:
    """Return a segment as a file to write.

    Args:
        place: The segment, every value finite.
        events: Events of the device; those within the segment's span become annotations.
        subject: Code of the patient.
        source: ``live``, ``replay`` or ``simulated``; in the header's recording field.

    Raises:
        SessionError: The format cannot hold it, see `limit`.
    """
    import edfio

    segment = place.segment
    ends, values = segment.times[[0, -1]], segment.data
    if why := limit(int(ends[0]), int(ends[1]), float(values.min()), float(values.max())):
        raise SessionError(f"{why}; export {segment.device}'s {segment.signal} as csv or parquet")
    wide = any(_counts(column) and _span(column) > LSB16 for column in segment.data.T)
    wide = wide and all(_span(column) <= LSB24 for column in segment.data.T)
    rows = len(segment.times)
    per_record = Fraction(segment.rate).limit_denominator(1000)
    filled = -(-rows // per_record.numerator) * per_record.numerator
    rate = float(per_record)
    signal: Any = edfio.BdfSignal if wide else edfio.EdfSignal
    signals = [
        signal(
            np.concatenate([column, np.full(filled - rows, column[-1])]),
            rate,
            label=printable(label.encode("ascii", "replace").decode(), _LABEL).replace("·", "?"),
            physical_dimension=UNITS.get(segment.signal, ""),
            physical_range=_range(column, LSB24 if wide else LSB16),
        )
        for label, column in zip(segment.channels, segment.data.T, strict=True)
    ]
    began = datetime.fromtimestamp(int(segment.times[0]) // NS, UTC)
    micro = int(segment.times[0]) % NS // 1000
    recording = edfio.Recording(
        startdate=began.date(),
        equipment_code=segment.device[:_CODE],
        additional=[OURS, segment.signal, source],
    )
    notes = [edfio.EdfAnnotation(at, None, text) for at, text in _notes(place, events, filled)]
    file: Any = edfio.Bdf if wide else edfio.Edf
    content: Edf | Bdf = file(
        signals,
        patient=edfio.Patient(code=plain(subject)[:_CODE] or "X"),
        recording=recording,
        starttime=began.time().replace(microsecond=micro),
        data_record_duration=float(per_record.denominator),
        annotations=notes,
    )
    return content


def settle(path: Path, width: int) -> None:
    """Rewrite the times of a file's annotations in whole microseconds.

    edfio adds binary fractions of a second, so that some become ``+1.6963819999999998``; EDFlib
    rejects a file whose data records are not exactly contiguous.

    Args:
        path: The file.
        width: Bytes per sample, 2 or 3.
    """
    data = bytearray(path.read_bytes())
    signals = int(data[252:256])
    sizes = [
        width * int(data[at : at + 8]) for at in range(256 + 216 * signals, 256 + 224 * signals, 8)
    ]
    labels = [bytes(data[at : at + _LABEL]) for at in range(256, 256 + _LABEL * signals, _LABEL)]
    notes = next(n for n, label in enumerate(labels) if b"Annotations" in label)
    first = 256 * (signals + 1) + sum(sizes[:notes])
    for at in range(first, len(data), sum(sizes)):
        record = _ONSET.sub(_whole, data[at : at + sizes[notes]])
        data[at : at + sizes[notes]] = record.ljust(sizes[notes], b"\0")
    path.write_bytes(data)


_ONSET = re.compile(rb"(?:^|(?<=\0))[+-][0-9.]+(?=[\x14\x15])")


def _whole(onset: re.Match[bytes]) -> bytes:
    return f"{float(onset[0]):+.6f}".rstrip("0").rstrip(".").encode()


def _counts(column: npt.NDArray[np.float64]) -> bool:
    return bool((column == np.rint(column)).all())


def _span(column: npt.NDArray[np.float64]) -> float:
    return float(column.max() - column.min())


def _range(column: npt.NDArray[np.float64], steps: int) -> tuple[float, float]:
    """Return the physical range of the digital range; one step per count where that fits."""
    low, high = float(column.min()), float(column.max())
    if _counts(column) and high - low <= steps and len(f"{low + steps:.0f}") <= 8:
        return low, low + steps
    # The header has eight characters for each.
    margin = max(high - low, abs(high), abs(low), 1e-3) * 1e-6
    low, high = _down(low - margin), -_down(-(high + margin))
    return low, high if high > low else low + 1.0


def _down(value: float) -> float:
    """Return the largest number of at most eight characters not above `value`."""
    digits = 6 - max(0, math.floor(math.log10(abs(value))) if abs(value) >= 1 else 0) - 1
    if abs(value) < 1e-4:
        digits = 4  # Python would write a smaller number with an exponent
    scale = 10.0 ** max(0, digits)
    return math.floor(value * scale) / scale


def _notes(place: PlacedSignal, events: Sequence[Event], filled: int) -> list[tuple[float, str]]:
    """Return (seconds from the start of the segment, text) of every annotation."""
    segment = place.segment
    start = int(segment.times[0])
    notes = []
    for event in events:
        if place.holds(event.start) and event.kind != "connected":
            detail = strict_json(event.detail, ensure_ascii=False)
            at = place.within(event.start)
            outside = "" if at == event.start else f" (at {iso(event.start)}, without samples)"
            notes.append(((at - start) / NS, f"{event.kind} {detail}{outside}"))
    rows = len(segment.times)
    if rows > 1:
        notes.append((0.0, f"measured rate {segment.measured_rate:.6f} Hz"))
    if filled > rows:
        notes.append((rows / segment.rate, f"end of samples; {filled - rows} more are filling"))
    return sorted(notes)
