"""A session as WFDB records (PhysioNet): one per gap-free segment, with annotations.

A multi-segment header per signal, ``DEVICE-SIGNAL.hea``, joins its records; gaps are null segments.
It has a single rate, the stated one, so its times are accurate to a sample or two. Each record's
own header states the accuracy of its values and times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Event
from innpar.devices.session.contents import source_of
from innpar.devices.session.published import published
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.strict_json import strict_json
from innpar.stream.messages.hygiene import printable
from innpar.stream.session.events import events_of
from innpar.stream.session.export.content import (
    UNITS,
    PlacedBeat,
    PlacedSignal,
    Segment,
    known_of,
    placed,
    plain,
)

Marks = list[tuple[int, str, str]]
"""(time in ns since the Unix epoch, WFDB symbol, note) of each annotation."""

NOTICE = "innpar-stream: research software; not a medical device"
_LONGEST_NOTE = 250
"""Longest note, bytes; the format stores its length in one byte."""
_WIDEST = 2**31 - 2
_FORMATS = (("16", 2**16), ("24", 2**24), ("32", 2**32))


class _Digits(NamedTuple):
    """A column as integers: physical value = (integer - baseline) / gain."""

    values: npt.NDArray[np.int64]
    gain: float
    baseline: int
    format: str


def to_wfdb(file: SessionFile, folder: Path) -> int:
    """Write records, annotations (``.atr``) and a header per signal; return the number of records.

    Beats are annotated as ``N``, those without pressures as ``Q``, other events as comments, ``"``.
    """
    import wfdb  # type: ignore[import-untyped]  # it ships none

    marks, known = _marks(file), known_of(file)
    written: dict[str, list[tuple[str, Segment]]] = {}
    notes: dict[str, list[str]] = {}
    for place in placed(file):
        segment = place.segment
        stem = plain(f"{segment.device}-{segment.signal}")
        name = f"{stem}-{segment.number:04d}"
        noted = known.get(segment.device, {})
        noted = {**noted, "source": source_of(noted)}
        about = [printable(f"{key}: {noted[key]}") for key in ("source", "subject") if key in noted]
        _record(wfdb, folder, name, segment, about)
        _annotate(wfdb, folder, name, place, marks.get(segment.device, []))
        # Only the first and last time of a written segment are still needed.
        ends = Segment(
            *(segment.device, segment.signal, segment.channels, segment.measured_rate),
            len(segment.times),
            segment.times[[0, -1]],
            segment.data[:0].copy(),  # not a view, which would keep all of it
        )
        written.setdefault(stem, []).append((name, ends))
        notes[stem] = [*about, NOTICE]
    for stem, parts in written.items():
        _tie(folder, stem, parts, notes[stem])
    return sum(map(len, written.values()))


def _marks(file: SessionFile) -> dict[str, Marks]:
    """Return the annotations of every device in order of time."""
    found: dict[str, Marks] = {}
    for device, events in events_of(file).items():
        noted = [event for event in events if event.kind != "connected"]
        found[device] = [(event.start, '"', _note(event)) for event in noted]
    for device, _, payload in published(file):
        symbol = "N" if payload.get("valid") else "Q"
        found.setdefault(device, []).append((PlacedBeat(device, payload).time, symbol, ""))
    return {device: sorted(marks) for device, marks in found.items()}


def _note(event: Event) -> str:
    if event.kind == "marker":
        text = f"marker: {event.detail.get('text', '')}"
    else:
        text = f"{event.kind} {strict_json(event.detail)}"
    return (
        printable(text, _LONGEST_NOTE).encode("ascii", "backslashreplace").decode()[:_LONGEST_NOTE]
    )


def _record(wfdb: Any, folder: Path, name: str, segment: Segment, about: list[str]) -> None:
    columns = [_digits(column) for column in segment.data.T]
    began = datetime.fromtimestamp(int(segment.times[0]) // NS, UTC)
    began = began.replace(microsecond=int(segment.times[0]) % NS // 1000)
    # The format has one rate per record: the measured one.
    rate = round(segment.measured_rate, 6)
    off = segment.times - segment.times[0] - np.arange(len(segment.times)) * (NS / rate)
    steps = ", ".join(
        f"{label} {1 / column.gain:.6g}"
        for label, column in zip(segment.channels, columns, strict=True)
    )
    wfdb.wrsamp(
        name,
        fs=rate,
        units=[UNITS.get(segment.signal) or "NU"] * len(columns),
        sig_name=_names(segment.channels),
        d_signal=np.stack([column.values for column in columns], axis=1),
        fmt=[column.format for column in columns],
        adc_gain=[column.gain for column in columns],
        baseline=[column.baseline for column in columns],
        base_time=began.time(),
        base_date=began.date(),
        comments=[
            *about,
            f"resolution of a value: {steps}",
            f"resolution of a time: {np.abs(off).max() / 1e6:.3f} ms off at most; stated rate "
            f"{segment.rate:g} Hz",
            NOTICE,
        ],
        write_dir=str(folder),
    )


def _names(labels: Sequence[str]) -> list[str]:
    """Return labels as names of signals: without spaces, each once."""
    names: list[str] = []
    for label in labels:
        name = "_".join(label.split())
        names.append(f"{name}_{len(names) + 1}" if name in names else name)
    return names


def _digits(column: npt.NDArray[np.float64]) -> _Digits:
    """Return a column as integers: exact if its values are integers, else in 24 bits."""
    low, high = float(column.min()), float(column.max())
    middle = math.floor((low + high) / 2)
    counts = bool((column == np.rint(column)).all()) and high - low < _WIDEST
    if counts and abs(middle) < _WIDEST:
        # The lowest number of each format marks a missing sample.
        format_ = next(name for name, size in _FORMATS if high - low < size - 4)
        return _Digits(column.astype(np.int64) - middle, 1.0, -middle, format_)
    largest = max(abs(low), abs(high))
    gain = min((2**24 - 8) / max(high - low, 1e-12), _WIDEST / max(largest, 1e-12))
    gain = float(f"{gain * (1 - 1e-9):.9g}")
    baseline = -round((low + high) / 2 * gain)
    return _Digits(np.rint(column * gain).astype(np.int64) + baseline, gain, baseline, "24")


def _annotate(wfdb: Any, folder: Path, name: str, place: PlacedSignal, marks: Marks) -> None:
    segment = place.segment
    inside = [mark for mark in marks if place.holds(mark[0])]
    if not inside:
        return
    times = np.array([place.within(time) for time, _, _ in inside])
    wfdb.wrann(
        name,
        "atr",
        np.searchsorted(segment.times, times, side="right") - 1,
        symbol=[symbol for _, symbol, _ in inside],
        aux_note=[note for _, _, note in inside],
        fs=round(segment.measured_rate, 6),
        write_dir=str(folder),
    )


def _tie(folder: Path, stem: str, parts: list[tuple[str, Segment]], notes: list[str]) -> None:
    """Write a multi-segment header of variable layout, the only one that may contain gaps."""
    first = parts[0][1]
    rate, zero = first.rate, int(first.times[0])
    if len(parts) < 2 or any(part.channels != first.channels for _, part in parts):
        return
    layout = f"{stem}_layout"
    lines, at = [f"{layout} 0"], 0
    for name, part in parts:
        begins = round((int(part.times[0]) - zero) * rate / NS)
        if begins > at:
            lines.append(f"~ {begins - at}")
            at = begins
        lines.append(f"{name} {part.number}")
        at += part.number
    began = datetime.fromtimestamp(zero // NS, UTC).replace(microsecond=zero % NS // 1000)
    head = f"{stem}/{len(lines)} {len(first.channels)} {rate:.6f} {at}"
    head += f" {began:%H:%M:%S.%f} {began:%d/%m/%Y}"
    unit = UNITS.get(first.signal) or "NU"
    signals = [f"~ 0 1/{unit} 0 0 0 0 0 {'_'.join(label.split())}" for label in first.channels]
    _write(folder / f"{layout}.hea", f"{layout} {len(signals)} {rate:.6f} 0", signals)
    _write(folder / f"{stem}.hea", head, lines, [f"# {note}" for note in notes])


def _write(path: Path, *lines: str | list[str]) -> None:
    flat = [one for line in lines for one in ([line] if isinstance(line, str) else line)]
    path.write_text("\n".join([*flat, ""]), encoding="utf-8")
