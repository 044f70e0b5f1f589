"""Polar's measurement frames, samples to bytes: the inverse of `sensors.polar.frames`."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from innpar.devices.sensors.polar.frames import HEADER, LAYOUTS, PULSE, MeasurementKind, Pulse

_Ints = npt.NDArray[np.int64]

_BLOCK = 42
"""Most samples in one block of equal width seen from a Verity Sense."""


def encode(
    kind: MeasurementKind, frame_type: int, times: _Ints, samples: _Ints, room: int
) -> tuple[bytes, int]:
    """Encode as many samples as fit, as a sensor fills its notifications.

    Args:
        kind: `MeasurementKind.PPG` or `MeasurementKind.ACC`.
        frame_type: A key of `LAYOUTS`.
        times: (samples,) ns on the sensor's clock; the last one taken stamps the frame.
        samples: (samples, channels), at least one; every value within the layout's width.
        room: Most bytes of the notification: ATT MTU less 3.

    Returns:
        The frame and its number of samples.

    Raises:
        ValueError: Not even one sample fits, or a value is too wide for the layout.
    """
    channels, size = LAYOUTS[kind, frame_type]
    values = np.asarray(samples, np.int64).reshape(-1, len(channels))
    if channels[-1] == "status":  # 24 bits without a sign, sent as if they had one
        values = values.copy()
        values[:, -1] = (values[:, -1] + 0x800000 & 0xFFFFFF) - 0x800000
    sample = len(channels) * size
    if not len(values) or room < HEADER + sample:
        raise ValueError(f"{room} bytes hold no {len(channels)}-channel sample")
    if _widths(values)[-1] > 8 * size:
        raise ValueError(f"values wider than {8 * size} bits cannot be sent")
    if frame_type & 0x80:
        blocks, steps = _blocks(np.diff(values, axis=0), room - HEADER - sample)
        body, taken = _bytes(values[:1], size) + blocks, 1 + steps
    else:
        taken = min(len(values), (room - HEADER) // sample)
        body = _bytes(values[:taken], size)
    return struct.pack("<BQB", kind, int(times[taken - 1]), frame_type) + body, taken


def encode_pulses(time: int, pulses: tuple[Pulse, ...]) -> bytes:
    """Encode a PPI frame."""
    head = struct.pack("<BQB", MeasurementKind.PPI, time, 0)
    return head + b"".join(
        PULSE.pack(p.hr, p.interval, p.error, p.blocker | _contact(p.contact)) for p in pulses
    )


def _contact(contact: bool | None) -> int:
    return 0 if contact is None else 4 | contact << 1


def _bytes(values: _Ints, size: int) -> bytes:
    return values.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :size].tobytes()


def _widths(values: _Ints) -> _Ints:
    """Return for each row the bits that hold all values up to it in two's complement."""
    magnitude = np.maximum.accumulate((values ^ (values >> 63)).max(axis=1))
    some = np.logical_or.accumulate(values.any(axis=1))
    return np.where(some, np.frexp(magnitude.astype(np.float64))[1] + 1, 0).astype(np.int64)


def _blocks(steps: _Ints, room: int) -> tuple[bytes, int]:
    """Pack differences into blocks as narrow as their widest value, until `room` is full."""
    body, taken, channels = b"", 0, steps.shape[1]
    while taken < len(steps):
        part = steps[taken : taken + _BLOCK]
        needed = (_widths(part) * np.arange(1, len(part) + 1) * channels + 7) // 8
        fits = int(np.searchsorted(needed, room - len(body) - 2, side="right"))
        if not fits:
            break
        body += _pack(part[:fits])
        taken += fits
    return body, taken


def _pack(steps: _Ints) -> bytes:
    width = int(_widths(steps)[-1])
    wide = (steps & 0xFFFFFFFF).astype("<u4").reshape(-1, 1).view(np.uint8)
    bits = np.unpackbits(wide, axis=1, bitorder="little")[:, :width]
    return bytes([width, len(steps)]) + np.packbits(bits, bitorder="little").tobytes()
