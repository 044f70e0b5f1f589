"""Live arterial blood pressure from a light sensor on the wrist.

An array of PPG, a sensor and a recording, in a few lines each::

    import innpar

    result = innpar.reconstruct(ppg, rate=100, cuff=(128, 79), at=15.0)
    result.time, result.abp, result.beats, result.quality, result.to_pandas()

    async with innpar.live("polar-verity", cuff="128/79") as beats:
        async for beat in beats:
            print(beat.time, beat.sbp, beat.dbp, beat.interval, beat.valid, beat.reasons)

    with innpar.open_session("night.mcap") as night:
        frame = night.to_pandas(begin=600, end=900)

The building blocks: `innpar.devices` (open one, list them, write your own), `innpar.models` (the
network as a function of arrays) and `innpar.stream` (`run` with sinks of your own). Names that
these four packages list in ``__all__`` are stable: they change with a major version only. Every
other module is private. Importing `innpar` costs nothing; each name loads its parts on first use.

Every error that a user can put right is an `InnparError`; its message ends with what to do. Wrong
arguments are a `ValueError`::

    InnparError
    ├── devices.DeviceError      a device, file or stream
    │   ├── NotFound             not there: switch it on, put it closer, check the path
    │   ├── Refused              there, but it said no: the message names the remedy
    │   ├── Lost                 was there: reconnecting is under way or was given up
    │   └── BadPacket            a frame or row that cannot be decoded: counted and skipped
    ├── models.ModelError        a model file, checkpoint or manifest
    │   └── DataError            training recordings
    └── stream
        ├── ConfigError          a flag, file or environment variable
        ├── BrokerError          the MQTT broker
        └── SessionError         a recorded session
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from innpar.errors import InnparError

if TYPE_CHECKING:
    from innpar import devices, models, stream
    from innpar.stream.library.live import LiveBeats, live
    from innpar.stream.library.reconstruct import reconstruct
    from innpar.stream.library.recording import Session, open_session
    from innpar.stream.library.trace import PressureTrace
    from innpar.stream.results import Beat

    __version__: str

__all__ = [
    "Beat",
    "InnparError",
    "LiveBeats",
    "PressureTrace",
    "Session",
    "__version__",
    "devices",
    "live",
    "models",
    "open_session",
    "reconstruct",
    "stream",
]

_HOMES = {
    "Beat": "stream.results",
    "LiveBeats": "stream.library.live",
    "PressureTrace": "stream.library.trace",
    "Session": "stream.library.recording",
    "live": "stream.library.live",
    "open_session": "stream.library.recording",
    "reconstruct": "stream.library.reconstruct",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("innpar-stream")
    if name in ("devices", "models", "stream"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
