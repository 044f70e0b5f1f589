"""One gap-free segment as EDF+ or BDF+.

Kemp B, Olivan J. European data format 'plus' (EDF+), an EDF alike standard format for the exchange
of physiological data. Clin Neurophysiol 2003. doi:10.1016/S1388-2457(03)00123-8
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..devices import NS, Event
from .errors import SessionError

if TYPE_CHECKING:
    from edfio import Bdf, Edf

    from .session_export import Segment

UNITS = {"ppg": "", "acc": "g", "abp": "mmHg"}
LSB16, LSB24 = (1 << 16) - 1, (1 << 24) - 1
_LABEL = 16
"""Characters that a signal's name may have."""


def edf(segment: Segment, events: Sequence[Event]) -> Edf | Bdf:
    """Return a segment as a file to write.

    Args:
        segment: Every value finite.
        events: Of the device; those within the segment become annotations.

    Raises:
        SessionError: edfio is not installed.
    """
    try:
        import edfio
    except ImportError:
        raise SessionError("EDF+ needs edfio: pip install 'innpar-stream[report]'") from None
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
            label=label[:_LABEL],
            physical_dimension=UNITS.get(segment.signal, ""),
            physical_range=_range(column, LSB24 if wide else LSB16),
        )
        for label, column in zip(segment.channels, segment.data.T, strict=True)
    ]
    began = datetime.fromtimestamp(int(segment.times[0]) // NS, UTC)
    micro = int(segment.times[0]) % NS // 1000
    recording = edfio.Recording(
        startdate=began.date(), equipment_code=segment.device, additional=[segment.signal]
    )
    notes = [edfio.EdfAnnotation(at, None, text) for at, text in _notes(segment, events, filled)]
    file: Any = edfio.Bdf if wide else edfio.Edf
    told: Edf | Bdf = file(
        signals,
        recording=recording,
        starttime=began.time().replace(microsecond=micro),
        data_record_duration=float(per_record.denominator),
        annotations=notes,
    )
    return told


def _counts(column: npt.NDArray[np.float64]) -> bool:
    return bool((column == np.rint(column)).all())


def _span(column: npt.NDArray[np.float64]) -> float:
    return float(column.max() - column.min())


def _range(column: npt.NDArray[np.float64], steps: int) -> tuple[float, float]:
    """Return the values of the lowest and highest digit; a step is one count where that fits."""
    low, high = float(column.min()), float(column.max())
    if _counts(column) and high - low <= steps and len(f"{low + steps:.0f}") <= 8:
        return low, low + steps
    # The header has eight characters for each.
    margin = max(high - low, abs(high), abs(low), 1e-3) * 1e-6
    low, high = _down(low - margin), -_down(-(high + margin))
    return low, high if high > low else low + 1.0


def _down(value: float) -> float:
    """Return the largest number of eight characters that is not above `value`."""
    digits = 6 - max(0, math.floor(math.log10(abs(value))) if abs(value) >= 1 else 0) - 1
    scale = 10.0 ** max(0, digits)
    return math.floor(value * scale) / scale


def _notes(segment: Segment, events: Sequence[Event], filled: int) -> list[tuple[float, str]]:
    """Return (seconds since the beginning, text)."""
    start, end = int(segment.times[0]), int(segment.times[-1])
    notes = []
    for event in events:
        if start <= event.start <= end and event.kind != "connected":
            detail = json.dumps(dict(event.detail), ensure_ascii=False)
            notes.append(((event.start - start) / NS, f"{event.kind} {detail}"))
    rows = len(segment.times)
    if rows > 1:
        measured = (rows - 1) * NS / (end - start)
        notes.append((0.0, f"measured rate {measured:.6f} Hz"))
    if filled > rows:
        notes.append((rows / segment.rate, f"end of samples; {filled - rows} more are filling"))
    return sorted(notes)
