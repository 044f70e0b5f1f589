"""Where samples come from."""

from innpar.devices.base import (
    NS,
    BadPacket,
    Chunk,
    Device,
    DeviceError,
    Event,
    HostClock,
    Lost,
    NotFound,
    Refused,
    Tap,
    by_clock,
    shown_source,
)
from innpar.devices.notices import NoticeCode, code_of, notice

__all__ = [
    "NS",
    "BadPacket",
    "Chunk",
    "Device",
    "DeviceError",
    "Event",
    "HostClock",
    "Lost",
    "NotFound",
    "NoticeCode",
    "Refused",
    "Tap",
    "by_clock",
    "code_of",
    "notice",
    "shown_source",
]
