"""Polar's measurement frames, bytes to samples. No I/O, no clock.

A frame is ``type u8 | time u64 | frame type u8 | body``, little-endian throughout. Its time is that
of its *last* sample, in ns since 2000 by the sensor's own clock; its absolute value is meaningless.
Layouts as in the Polar Measurement Data specification and polar-ble-sdk @8fb5311c; the inverse is
`devices.virtual.sensors.polar_encoder`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from innpar.devices.base import BadPacket

EPOCH_2000 = 946_684_800 * 1_000_000_000
"""The sensor's time zero, ns since the Unix epoch."""

HEADER = 10
"""Bytes before the body."""


class MeasurementKind(IntEnum):
    """Measurement of a frame: the low six bits of its first byte."""

    ECG = 0
    PPG = 1
    ACC = 2
    PPI = 3
    GYRO = 5
    MAG = 6
    SKIN_TEMPERATURE = 7
    SDK_MODE = 9
    LOCATION = 10
    PRESSURE = 11
    TEMPERATURE = 12
    OFFLINE_RECORDING = 13
    OFFLINE_HR = 14


@dataclass(frozen=True, slots=True, eq=False)
class PpgFrame:
    """The samples of one frame.

    Attributes:
        kind: `MeasurementKind.PPG` or `MeasurementKind.ACC`.
        frame_type: Byte 9 as sent: 0x80 is the compressed form of type 0.
        time: Of the last sample, ns on the sensor's clock.
        channels: One label a column.
        samples: (samples, channels) int64, as sent: PPG in counts, ACC in the units of `scale`.
    """

    kind: MeasurementKind
    frame_type: int
    time: int
    channels: tuple[str, ...]
    samples: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse-to-pulse interval.

    Attributes:
        hr: Beats a minute; 0 if the firmware does not fill it.
        interval: ms.
        error: The sensor's own estimate of its error, ms.
        blocker: Movement made the interval invalid.
        contact: Skin contact; None if the sensor does not detect it.
    """

    hr: int
    interval: int
    error: int
    blocker: bool
    contact: bool | None


@dataclass(frozen=True, slots=True)
class Pulses:
    """Intervals of one frame; `time` is 0 on a Verity Sense, which does not stamp them."""

    time: int
    pulses: tuple[Pulse, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """A frame about the sensor (gains, operation mode, sport), interleaved with the samples."""

    kind: MeasurementKind
    frame_type: int
    time: int
    values: tuple[int, ...]


Frame = PpgFrame | Pulses | Metadata

_PPG = ("ppg0", "ppg1", "ppg2", "ambient")
_XYZ = ("x", "y", "z")
_COLOURS = tuple(
    f"{colour}{i}" for colour, n in (("red", 8), ("green", 6), ("ir", 6)) for i in range(n)
)

LAYOUTS: dict[tuple[MeasurementKind, int], tuple[tuple[str, ...], int]] = {
    (MeasurementKind.PPG, 0x00): (_PPG, 3),
    (MeasurementKind.PPG, 0x80): (_PPG, 3),
    (MeasurementKind.PPG, 0x87): ((*(f"ppg{i}" for i in range(16)), "status"), 3),
    (MeasurementKind.PPG, 0x88): ((*(f"ppg{i}" for i in range(24)), "status"), 3),
    (MeasurementKind.PPG, 0x8A): ((*_COLOURS, "status"), 3),
    (MeasurementKind.PPG, 0x8D): (("ppg0", "ppg1", "status"), 3),
    (MeasurementKind.ACC, 0x00): (_XYZ, 1),
    (MeasurementKind.ACC, 0x01): (_XYZ, 2),
    (MeasurementKind.ACC, 0x02): (_XYZ, 3),
    (MeasurementKind.ACC, 0x80): (_XYZ, 2),
    (MeasurementKind.ACC, 0x81): (_XYZ, 2),
}
"""(kind, frame type) → channel labels and bytes a value."""

_METADATA = {0x04: 36, 0x05: 4, 0x06: 8, 0x09: 36, 0x0E: 3}
"""PPG frame type → bytes of body."""

PULSE = struct.Struct("<BHHB")
"""One interval: heart rate, interval (ms), error (ms), flags."""


def decode(raw: bytes) -> Frame:
    """Decode one notification of the PMD data characteristic.

    A body cut between two blocks is a valid, shorter frame; a frame cut elsewhere is refused.

    Raises:
        BadPacket: It is too short, cut inside a block, stamped centuries ahead, or of an
            undocumented type.
    """
    if len(raw) < HEADER:
        raise BadPacket(f"a frame has at least {HEADER} bytes, this one {len(raw)}", raw)
    number, frame_type = raw[0] & 0x3F, raw[9]
    time = int.from_bytes(raw[1:9], "little")
    if time >> 62:
        raise BadPacket("a frame stamped in 2146 or later", raw)
    try:
        kind = MeasurementKind(number)
    except ValueError:
        raise BadPacket(f"frame of an unknown measurement {number}", raw) from None
    if (kind, frame_type) in LAYOUTS:
        channels, size = LAYOUTS[kind, frame_type]
        unpack = _delta if frame_type & 0x80 else _plain
        samples = unpack(raw, len(channels), size)
        if channels[-1] == "status":  # a bit field that travels through the same signed deltas
            samples[:, -1] &= 0xFFFFFF
        return PpgFrame(kind, frame_type, time, channels, samples)
    if kind is MeasurementKind.PPI and frame_type == 0:
        return Pulses(time, _pulses(raw))
    if kind is MeasurementKind.PPG and frame_type in _METADATA:
        return Metadata(kind, frame_type, time, _metadata(raw))
    raise BadPacket(f"{kind.name} frame of unknown type 0x{frame_type:02X}", raw)


def scale(frame: PpgFrame, factor: float) -> float:
    """Return the unit of one count of `frame`: in g for ACC, in sensor units for PPG.

    Args:
        frame: A frame of samples.
        factor: Factor that the sensor answered when the stream was started, 1.0 if none.
    """
    if frame.kind is MeasurementKind.ACC and frame.frame_type != 0x80:
        return factor / 1000  # mg, except in the first compressed type
    return factor


def _plain(raw: bytes, channels: int, size: int) -> npt.NDArray[np.int64]:
    """Decode uncompressed samples, each value a signed little-endian integer of `size` bytes."""
    body = np.frombuffer(raw, np.uint8, offset=HEADER)
    if not len(body) or len(body) % (channels * size):
        raise BadPacket(
            f"{len(body)} bytes are not a whole number of {channels}-channel samples", raw
        )
    return _integers(body, size).reshape(-1, channels)


def _integers(packed: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.int64]:
    """Sign-extend little-endian integers of `size` ≤ 4 bytes: placed high, then shifted down."""
    wide = np.zeros((len(packed) // size, 4), np.uint8)
    wide[:, 4 - size :] = packed.reshape(-1, size)
    return wide.view("<i4")[:, 0].astype(np.int64) >> (32 - 8 * size)


def _delta(raw: bytes, channels: int, size: int) -> npt.NDArray[np.int64]:
    """Decode a reference sample and blocks of differences, packed least significant bit first."""
    start, end = HEADER + channels * size, len(raw)
    if end < start:
        raise BadPacket(f"{end - HEADER} bytes hold no {channels}-channel reference sample", raw)
    body = np.frombuffer(raw, np.uint8)
    steps = [_integers(body[HEADER:start], size).reshape(1, channels)]
    while start < end:
        if start + 2 > end:
            raise BadPacket("the frame ends inside a block's header", raw)
        width, count = raw[start], raw[start + 1]
        start += 2
        stop = start + (width * count * channels + 7) // 8
        if width > 32 or count == 0:
            raise BadPacket(f"a block of {count} samples with {width}-bit differences", raw)
        if stop > end:
            raise BadPacket(f"the frame ends {stop - end} bytes inside a block", raw)
        steps.append(_differences(body[start:stop], width, count, channels))
        start = stop
    return np.concatenate(steps).cumsum(axis=0)


def _differences(
    packed: npt.NDArray[np.uint8], width: int, count: int, channels: int
) -> npt.NDArray[np.int64]:
    """Unpack (count, channels) signed integers of `width` bits."""
    if width == 0:
        return np.zeros((count, channels), np.int64)
    values = count * channels
    bits = np.unpackbits(packed, count=values * width, bitorder="little")
    wide = np.zeros((values, 32), np.uint8)
    wide[:, 32 - width :] = bits.reshape(values, width)
    high = np.packbits(wide, axis=1, bitorder="little").view("<i4")
    return (high.astype(np.int64) >> (32 - width)).reshape(count, channels)


def _pulses(raw: bytes) -> tuple[Pulse, ...]:
    body = raw[HEADER:]
    if not body or len(body) % PULSE.size:
        raise BadPacket(f"{len(body)} bytes are not a whole number of intervals", raw)
    return tuple(
        Pulse(hr, interval, error, bool(flags & 1), bool(flags & 2) if flags & 4 else None)
        for hr, interval, error, flags in PULSE.iter_unpack(body)
    )


def _metadata(raw: bytes) -> tuple[int, ...]:
    body, frame_type = raw[HEADER:], raw[9]
    if len(body) != _METADATA[frame_type]:
        raise BadPacket(
            f"a metadata frame 0x{frame_type:02X} has {_METADATA[frame_type]} bytes of body, "
            f"this one {len(body)}",
            raw,
        )
    if frame_type in (0x05, 0x06):
        return (int.from_bytes(body, "little"),)
    plain = 1 if frame_type == 0x0E else 12  # integration counts first, then 3-bit gains
    return (*body[:plain], *(gain & 7 for gain in body[plain:]))
