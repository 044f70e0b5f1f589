"""What lies in a session file: items of a stream ⇄ bytes, without loss.

A file's channels are named ``DEVICE/…``::

    run             JSON   what was running: version, configuration, model
    DEVICE/about    JSON   source and origin, polarity, site, and what steered its run
    DEVICE/raw/…    bytes  what the device delivered, before decoding, by characteristic
    DEVICE/ppg      samples, likewise acc and abp
    DEVICE/events   JSON   gaps, cuff readings, markers, …
    DEVICE/beats    JSON   what was published
    DEVICE/learnt   JSON   cuff readings as they took effect, with what was learnt from them

Samples are a header (`_HEADER`: type of the numbers, columns, rows, rate in Hz), the rows' times as
int64 ns, each less the one before it (the first counts from the Unix epoch), then column after
column; little-endian. Numbers are kept in the smallest type that holds every one of them exactly:
``f8``, ``f4``, or ``i4``, in which each is less the one before it in its column, modulo 2^32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt

from innpar.devices.base import BadPacket, Chunk, Event, EventKind, Signal
from innpar.devices.session.strict_json import strict_json

SAMPLES, JSON, BYTES = "innpar-samples", "json", "application/octet-stream"
"""Encodings of a message."""

RUN = "run"
ABOUT, EVENTS, BEATS, RAW, LEARNT = "about", "events", "beats", "raw", "learnt"
SIGNALS: tuple[Signal, ...] = get_args(Signal)
KINDS = frozenset(get_args(EventKind))

_HEADER = struct.Struct("<2sHId")
_TYPES = (b"i4", b"f4", b"f8")


class Topic(NamedTuple):
    """A channel's name, taken apart.

    Attributes:
        device: Id of the device; empty for `RUN`.
        what: ``about``, ``events``, ``beats``, ``raw``, ``learnt`` or a signal.
        rest: Which characteristic of ``raw``.
    """

    device: str
    what: str
    rest: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    @classmethod
    def of(cls, text: str) -> Topic:
        """Take `text` apart."""
        if text == RUN:
            return cls("", RUN)
        device, _, rest = text.partition("/")
        what, _, rest = rest.partition("/")
        return cls(device, what, rest)


class Frame(NamedTuple):
    """Bytes as they came, before decoding; `arrival` in ns since the Unix epoch."""

    device: str
    channel: str
    arrival: int
    raw: bytes


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return one line of JSON."""
    return strict_json(value, separators=(",", ":"), ensure_ascii=False).encode()


def from_json(data: bytes) -> dict[str, Any]:
    """Read what `to_json` wrote.

    Raises:
        BadPacket: It is something else.
    """
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadPacket("a message that is no JSON object", data)
    return value


def pack_chunk(chunk: Chunk) -> bytes:
    """Return a chunk's rate, times and samples; device, signal and labels are its channel's."""
    kind, data = _smallest(chunk.data)
    header = _HEADER.pack(kind, len(chunk.channels), len(chunk), chunk.rate)
    times = np.diff(chunk.times, prepend=np.int64(0))
    return header + times.astype("<i8").tobytes() + data.tobytes()


def unpack_chunk(device: str, signal: str, channels: tuple[str, ...], packed: bytes) -> Chunk:
    """Read what `pack_chunk` wrote.

    Raises:
        BadPacket: It is something else.
    """
    if len(packed) < _HEADER.size or signal not in SIGNALS:
        raise BadPacket("a message that holds no samples", packed)
    kind, columns, rows, rate = _HEADER.unpack_from(packed)
    wide = 8 * rows + _HEADER.size
    size = int(kind[1:2] or b"0") if kind in _TYPES else 0
    if not size or columns != len(channels) or len(packed) != wide + rows * columns * size:
        raise BadPacket("samples that contradict their header", packed)
    times = np.frombuffer(packed, "<i8", rows, _HEADER.size).astype(np.int64).cumsum()
    small = np.frombuffer(packed, f"<{kind.decode()}", rows * columns, wide).reshape(columns, rows)
    if kind == b"i4":
        small = small.cumsum(axis=1, dtype=np.int32)
    data = np.ascontiguousarray(small.T, dtype=np.float64)
    try:
        return Chunk(device, signal, channels, rate, times, data)
    except ValueError as error:
        raise BadPacket(str(error), packed) from None


def _smallest(data: npt.NDArray[np.float64]) -> tuple[bytes, npt.NDArray[Any]]:
    """Return the columns of `data`, packed in the smallest type that keeps every bit."""
    with np.errstate(invalid="ignore", over="ignore"):
        for kind in _TYPES[:2]:
            small = data.astype(f"<{kind.decode()}")
            if small.astype(np.float64).tobytes() != data.tobytes():
                continue
            columns = np.ascontiguousarray(small.T)
            if kind == b"i4":
                columns = np.diff(columns, prepend=np.int32(0))
            return kind, columns
    return b"f8", np.ascontiguousarray(data.T, dtype="<f8")


def pack_event(event: Event) -> bytes:
    """Return an event; its device is its channel's."""
    told = {"kind": event.kind, "start": event.start, "end": event.end}
    return to_json({**told, "detail": dict(event.detail)})


def unpack_event(device: str, packed: bytes) -> Event:
    """Read what `pack_event` wrote.

    Raises:
        BadPacket: It is something else.
    """
    told = from_json(packed)
    kind, start, end, detail = (told.get(key) for key in ("kind", "start", "end", "detail"))
    whole = isinstance(start, int) and isinstance(end, int) and isinstance(detail, dict)
    if kind not in KINDS or not whole:
        raise BadPacket("a message that is no event", packed)
    told_kind: EventKind = cast(Literal["notice"], kind)
    return Event(device, told_kind, cast(int, start), cast(int, end), cast(dict[str, Any], detail))
