"""Lossless conversion between the items of a stream and the messages of a session file.

A file's channels are named ``DEVICE/…``::

    run             JSON   version, configuration and model of the run
    DEVICE/about    JSON   source and origin, polarity, site, and settings of its run
    DEVICE/raw/…    bytes  frames before decoding, by characteristic
    DEVICE/ppg      samples; also acc and abp
    DEVICE/events   JSON   gaps, cuff readings, markers, …
    DEVICE/beats    JSON   published beats
    DEVICE/learnt   JSON   cuff readings when they took effect, with the calibration learnt

Samples are a header (`_HEADER`: number type, columns, rows, rate in Hz), the rows' times as int64
ns, each minus the one before (the first counts from the Unix epoch), then column after column;
little-endian. Numbers have the smallest type that holds all of them exactly: ``f8``, ``f4``, or
``i4``, in which each is minus the one before in its column, modulo 2^32.
"""

from __future__ import annotations

import json
import math
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

MOST = 1e15
"""Largest number of an event or a beat, either way; none is that large."""
RATES = 1e-3, 1e5
"""Lowest and highest rate of samples, Hz."""
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "cuff": ("sbp", "dbp"),
    "cuff_undone": ("sbp", "dbp"),
    "clock": ("skew_ppm",),
}
"""Kind of event → numbers that it has."""
POSSIBLE: Mapping[str, tuple[str, ...]] = {
    "gap": ("lost",),
    "battery": ("percent",),
    "vitals": ("hr", "spo2"),
}
"""Kind of event → numbers that it may have."""

_HEADER = struct.Struct("<2sHId")
_TYPES = (b"i4", b"f4", b"f8")


class Topic(NamedTuple):
    """Parsed name of a channel.

    Attributes:
        device: Device id; empty for `RUN`.
        what: ``about``, ``events``, ``beats``, ``raw``, ``learnt`` or a signal.
        rest: Characteristic of ``raw``.
    """

    device: str
    what: str
    rest: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    @classmethod
    def of(cls, text: str) -> Topic:
        """Parse `text`."""
        if text == RUN:
            return cls("", RUN)
        device, _, rest = text.partition("/")
        what, _, rest = rest.partition("/")
        return cls(device, what, rest)


class Frame(NamedTuple):
    """Raw bytes of one notification, before decoding; `arrival` in ns since the Unix epoch."""

    device: str
    channel: str
    arrival: int
    raw: bytes


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, with null for NaN and infinity."""
    return strict_json(value, separators=(",", ":"), ensure_ascii=False).encode()


def from_json(data: bytes) -> dict[str, Any]:
    """Parse the output of `to_json`; half of a surrogate pair, no character, becomes ``?``.

    Raises:
        BadPacket: Not a JSON object.
    """
    try:
        value = json.loads(data)
        if b"\\ud" in data.lower():
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadPacket("a message that is not a JSON object", data)
    return value


def pack_chunk(chunk: Chunk) -> bytes:
    """Pack a chunk's rate, times and samples; its channel gives device, signal and labels."""
    kind, data = _smallest(chunk.data)
    header = _HEADER.pack(kind, len(chunk.channels), len(chunk), chunk.rate)
    times = np.diff(chunk.times, prepend=np.int64(0))
    return header + times.astype("<i8").tobytes() + data.tobytes()


def unpack_chunk(device: str, signal: str, channels: tuple[str, ...], packed: bytes) -> Chunk:
    """Unpack the output of `pack_chunk`.

    Raises:
        BadPacket: Not packed samples of these channels.
    """
    if len(packed) < _HEADER.size or signal not in SIGNALS:
        raise BadPacket("a message without samples", packed)
    kind, columns, rows, rate = _HEADER.unpack_from(packed)
    if not RATES[0] <= rate <= RATES[1]:
        raise BadPacket("samples at an impossible rate", packed)
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
    """Return (type, columns of `data`) in the smallest type that preserves every bit."""
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
    """Pack an event; its channel gives the device."""
    fields = {"kind": event.kind, "start": event.start, "end": event.end}
    return to_json({**fields, "detail": dict(event.detail)})


def unpack_event(device: str, packed: bytes) -> Event:
    """Unpack the output of `pack_event`.

    Raises:
        BadPacket: Not an event.
    """
    fields = from_json(packed)
    kind, start, end, detail = (fields.get(key) for key in ("kind", "start", "end", "detail"))
    timed = all(type(time) is int and -(2**63) <= time < 2**63 for time in (start, end))
    if kind not in KINDS or not timed or not isinstance(detail, dict):
        raise BadPacket("a message that is not an event", packed)
    if not _is_complete(cast(str, kind), detail):
        raise BadPacket(f"an event {kind!r} without its numbers", packed)
    known: EventKind = cast(Literal["notice"], kind)
    return Event(device, known, cast(int, start), cast(int, end), cast(dict[str, Any], detail))


def is_number(value: Any) -> bool:
    """Return whether a value of JSON is a number that every program can hold."""
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= MOST


def _is_complete(kind: str, detail: Mapping[str, Any]) -> bool:
    """Return whether an event has the numbers that its readers compute with."""
    required = all(is_number(detail.get(key)) for key in REQUIRED.get(kind, ()))
    values = [detail.get(key) for key in POSSIBLE.get(kind, ())]
    remembered = detail.get("remembered") if kind == "cuff" else None
    if remembered is not None:
        values.append(remembered.get("age_s", "") if isinstance(remembered, dict) else "")
    return required and all(value is None or is_number(value) for value in values)
