"""Where samples come from."""

from .base import (
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
)

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
    "Refused",
    "Tap",
    "by_clock",
]
