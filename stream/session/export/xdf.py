"""A session as XDF, the file format of the Lab Streaming Layer, as written by LabRecorder.

Per device one stream for each signal, and one each for beats, events and markers. Format: https://github.com/sccn/xdf/wiki/Specifications
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from innpar.devices import NS, Chunk, Event
from innpar.devices.session.contents import source_of
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.strict_json import strict_json
from innpar.stream.messages.hygiene import escape
from innpar.stream.session.export.content import (
    UNITS,
    PlacedBeat,
    beginning,
    contents,
    known_of,
    sampled,
)
from innpar.stream.windows.resample import HOLE

MAGIC = b"XDF:"
HEADER, STREAM, SAMPLES, OFFSET, BOUNDARY, FOOTER = range(1, 7)
_MARK = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")
_EVERY = 500
"""Chunks between two boundaries, at which readers resume in a damaged file."""

_TYPES = {"ppg": "PPG", "acc": "ACC", "abp": "ABP", "estimate": "ABP"}
PRESSURES = {"abp": "measured", "estimate": "estimate"}
"""Signal → field ``pressure`` of its stream: a true pressure, or our reconstruction."""
_BEATS = ("sbp", "dbp", "map", "hr", "quality", "valid")
_BEAT_UNITS = ("mmHg", "mmHg", "mmHg", "1/min", "1", "1")
_RATE_WIDTH = 24
"""Characters reserved for a rate that is only known at the end."""


def to_xdf(file: SessionFile, folder: Path) -> int:
    """Write one XDF file with all streams of all devices; return 1.

    Time stamps are seconds since the date in the file's header, exact to a nanosecond in the first
    months. A stream without gaps states its rate; one with gaps states none, so that readers do not
    spread its samples evenly over the gaps.
    """
    zero = beginning(file) // 1000 * 1000
    known = known_of(file)
    with (folder / "session.xdf").open("xb") as stream:
        writer = _Writer(stream, zero)
        for item in contents(file):
            about = known.get(item.device, {})
            if isinstance(item, Event):
                writer.event(item, about)
            else:
                if isinstance(item, PlacedBeat):
                    writer.beat(item, about)
                if (named := sampled(item)) is not None:
                    writer.samples(*named, about)
        writer.close()
    return 1


@dataclass(slots=True)
class _XdfStream:
    """State of a stream, for its footer."""

    number: int
    rate: float
    rate_at: int
    first: float = 0.0
    last: float = 0.0
    count: int = 0
    gaps: int = field(default=0)


class _Writer:
    """Writer of XDF chunks; it holds only the counts of each stream."""

    def __init__(self, stream: BinaryIO, zero: int) -> None:
        self._out = stream
        self._zero = zero
        self._streams: dict[tuple[str, str, tuple[str, ...]], _XdfStream] = {}
        self._chunks = 0
        began = datetime.fromtimestamp(zero // NS, UTC).replace(microsecond=zero % NS // 1000)
        self._out.write(MAGIC)
        self._chunk(
            HEADER,
            _xml(f"<version>1.0</version><datetime>{began:%Y-%m-%dT%H:%M:%S.%f}+0000</datetime>"),
        )

    def samples(self, signal: str, chunk: Chunk, about: dict[str, object]) -> None:
        units = [UNITS.get(signal, "")] * len(chunk.channels)
        if signal in PRESSURES:
            about = {**about, "pressure": PRESSURES[signal]}
        stream = self._stream(
            *(chunk.device, signal, chunk.channels, units),
            (_TYPES[signal], chunk.rate, "double64"),
            about,
        )
        stamps = (chunk.times - self._zero) / NS
        steps = np.diff(stamps, prepend=stream.last if stream.count else stamps[0])
        stream.gaps += int((steps > HOLE / chunk.rate).sum())
        self._numbers(stream, stamps, chunk.data)

    def beat(self, beat: PlacedBeat, about: dict[str, object]) -> None:
        stream = self._stream(
            *(beat.device, "beats", _BEATS, _BEAT_UNITS),
            ("BloodPressure", 0.0, "double64"),
            about,
        )
        row = [np.nan if (v := beat.payload.get(name)) is None else float(v) for name in _BEATS]
        self._numbers(stream, np.array([(beat.time - self._zero) / NS]), np.array([row]))

    def event(self, event: Event, about: dict[str, object]) -> None:
        content = {"kind": event.kind, "end": (event.end - self._zero) / NS, **event.detail}
        texts = [("events", "Events", strict_json(content, ensure_ascii=False))]
        if event.kind == "marker":
            texts.append(("markers", "Markers", str(event.detail.get("text", ""))))
        stamp = (event.start - self._zero) / NS
        for name, kind, text in texts:
            format_ = (kind, 0.0, "string")
            stream = self._stream(event.device, name, (name,), ("",), format_, about)
            data = text.encode()
            row = b"\x08" + struct.pack("<d", stamp) + _length(len(data)) + data
            self._count(stream, stamp, stamp, 1)
            self._chunk(SAMPLES, struct.pack("<I", stream.number) + _length(1) + row)

    def _numbers(
        self, stream: _XdfStream, stamps: npt.NDArray[np.float64], data: npt.NDArray[np.float64]
    ) -> None:
        layout = [("wide", "u1"), ("stamp", "<f8"), ("values", "<f8", (data.shape[1],))]
        rows = np.empty(len(data), dtype=layout)
        rows["wide"], rows["stamp"], rows["values"] = 8, stamps, data
        self._count(stream, float(stamps[0]), float(stamps[-1]), len(data))
        head = struct.pack("<I", stream.number) + _length(len(data))
        self._chunk(SAMPLES, head + rows.tobytes())

    def _count(self, stream: _XdfStream, first: float, last: float, count: int) -> None:
        stream.first = stream.first if stream.count else first
        stream.last, stream.count = last, stream.count + count

    def _stream(
        self,
        device: str,
        name: str,
        channels: tuple[str, ...],
        units: Sequence[str],
        format_: tuple[str, float, str],
        about: dict[str, object],
    ) -> _XdfStream:
        key = device, name, channels
        if key not in self._streams:
            kind, rate, type_ = format_
            number = len(self._streams) + 1
            content = (
                f"<name>{escape(device)} {name}</name><type>{kind}</type>"
                f"<channel_count>{len(channels)}</channel_count><nominal_srate>"
            )
            rest = (
                f"</nominal_srate><channel_format>{type_}</channel_format>"
                f"<source_id>innpar-{escape(device)}-{name}</source_id><created_at>0</created_at>"
                + _description(device, channels, units, kind, about)
            )
            written = f"{rate:.10g}".ljust(_RATE_WIDTH)
            body = struct.pack("<I", number) + _xml(content + written + rest)
            at = self._chunk(STREAM, body) + body.index(b"<nominal_srate>") + 15
            self._streams[key] = _XdfStream(number, rate, at)
            self._offset(number, 0.0)
        return self._streams[key]

    def _offset(self, number: int, at: float) -> None:
        """Write a clock offset of zero; without one readers warn."""
        self._chunk(OFFSET, struct.pack("<Idd", number, at, 0.0))

    def close(self) -> None:
        """Write the footers, and clear the stated rate of streams with gaps."""
        for stream in self._streams.values():
            self._offset(stream.number, stream.last)
            span = stream.last - stream.first
            measured = (stream.count - 1) / span if span > 0 else 0.0
            content = (
                f"<first_timestamp>{stream.first!r}</first_timestamp>"
                f"<last_timestamp>{stream.last!r}</last_timestamp>"
                f"<sample_count>{stream.count}</sample_count>"
                f"<measured_srate>{measured:.9g}</measured_srate>"
            )
            self._chunk(FOOTER, struct.pack("<I", stream.number) + _xml(content))
        for stream in self._streams.values():
            if stream.gaps:
                self._out.seek(stream.rate_at)
                self._out.write(b"0".ljust(_RATE_WIDTH))

    def _chunk(self, tag: int, content: bytes) -> int:
        """Write a chunk; return the position of its content."""
        self._chunks += 1
        if self._chunks % _EVERY == 0:
            self._put(BOUNDARY, _MARK)
        return self._put(tag, content)

    def _put(self, tag: int, content: bytes) -> int:
        self._out.write(_length(len(content) + 2) + struct.pack("<H", tag))
        at = self._out.tell()
        self._out.write(content)
        return at


def _length(count: int) -> bytes:
    """Return a number as a variable-length integer: its width in bytes, then the bytes."""
    for width, code in ((1, "B"), (4, "<I")):
        if count < 1 << (8 * width):
            return bytes([width]) + struct.pack(code, count)
    return b"\x08" + struct.pack("<Q", count)


def _xml(content: str) -> bytes:
    return f'<?xml version="1.0"?><info>{content}</info>'.encode()


def _description(
    device: str,
    channels: tuple[str, ...],
    units: Sequence[str],
    kind: str,
    about: dict[str, object],
) -> str:
    listed = "".join(
        f"<channel><label>{escape(label)}</label><unit>{unit}</unit><type>{kind}</type></channel>"
        for label, unit in zip(channels, units, strict=True)
    )
    fields = {"device": device, **{k: v for k, v in about.items() if v is not None}}
    fields["source"] = source_of(about)
    fields["notice"] = "research software; not a medical device"
    more = "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in fields.items())
    return (
        f"<desc><channels>{listed}</channels><acquisition><manufacturer>innpar-stream"
        f"</manufacturer></acquisition>{more}</desc>"
    )
