"""Everything between a device's samples and the published beats.

`run` streams devices into sinks of your own; `Beat` and `Waveform` are what a sink receives most.
Each name is imported on first use, so that naming this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innpar.stream.errors import BrokerError, ConfigError, SessionError
    from innpar.stream.library.run import run
    from innpar.stream.results import (
        Beat,
        CalibrationStatus,
        DeviceInfo,
        Interval,
        Item,
        Latency,
        Reference,
        State,
        Summary,
        Waveform,
    )
    from innpar.stream.sinks.base import FanOut, Sink

_HOMES = {
    "Beat": "results",
    "BrokerError": "errors",
    "CalibrationStatus": "results",
    "ConfigError": "errors",
    "DeviceInfo": "results",
    "FanOut": "sinks.base",
    "Interval": "results",
    "Item": "results",
    "Latency": "results",
    "Reference": "results",
    "SessionError": "errors",
    "Sink": "sinks.base",
    "State": "results",
    "Summary": "results",
    "Waveform": "results",
    "run": "library.run",
}

__all__ = [
    "Beat",
    "BrokerError",
    "CalibrationStatus",
    "ConfigError",
    "DeviceInfo",
    "FanOut",
    "Interval",
    "Item",
    "Latency",
    "Reference",
    "SessionError",
    "Sink",
    "State",
    "Summary",
    "Waveform",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
