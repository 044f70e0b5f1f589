"""Where samples come from: devices, by name or of your own.

`open_device` makes the device that a name like ``polar-verity`` or ``replay:FILE`` stands for,
`list_devices` lists the names, and `check` holds a device of your own against the laws.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
from innpar.devices.timing.pace import Pace

if TYPE_CHECKING:
    from innpar.devices.conformance import check
    from innpar.devices.registry import Entry
    from innpar.devices.registry import create as open_device
    from innpar.devices.registry import listed as list_devices

_HOMES = {
    "Entry": ("registry", "Entry"),
    "check": ("conformance", "check"),
    "list_devices": ("registry", "listed"),
    "open_device": ("registry", "create"),
}

__all__ = [
    "NS",
    "BadPacket",
    "Chunk",
    "Device",
    "DeviceError",
    "Entry",
    "Event",
    "HostClock",
    "Lost",
    "NotFound",
    "NoticeCode",
    "Pace",
    "Refused",
    "Tap",
    "check",
    "code_of",
    "is_real_time",
    "list_devices",
    "notice",
    "open_device",
    "shown_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(f".{module}", __name__), attribute)
