"""Devices: sensors, recordings and simulations as sources of samples and events."""

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
    is_real_time,
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
    "code_of",
    "is_real_time",
    "notice",
    "shown_source",
]
