"""Types shared by devices and the pipeline: chunks, events, the device protocol and its errors.

A device yields `Chunk`s of samples and `Event`s in time order; everything else is private to it.
Errors are grouped by what the user can do about them::

    DeviceError
    ├── NotFound        not there: switch it on, bring it closer, check the path
    │   └── OutOfReach  not advertising, or too far away
    ├── Refused         there, but unusable as requested: the message names the remedy
    ├── Lost            connection lost: a reconnect is under way or has been given up
    └── BadPacket       a frame or row that cannot be decoded: counted and skipped
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from innpar.errors import InnparError

Signal = Literal["ppg", "acc", "abp"]
Source = Literal["live", "replay", "simulated"]

NS = 1_000_000_000
"""Nanoseconds per second."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive samples of one signal of a device, each with its own time.

    Attributes:
        device: Device id, as in the MQTT topics.
        signal: ``ppg`` in the sensor's own units, ``acc`` in g, ``abp`` measured or simulated
            arterial pressure in mmHg (simulated wearers and patient records carry it).
        channels: One label per column, e.g. ``("ppg0", "ppg1", "ppg2", "ambient")``.
        rate: Nominal sampling rate, Hz. `times` take precedence over it.
        times: (samples,) int64, ns since the Unix epoch at which the sensor took each sample.
            Passed on unchanged; the pipeline counts and drops backward and repeated times.
        data: (samples, channels) float64. NaN marks a sample the sensor could not take.
        arrival: When this computer received it from a device in real time, ns since the Unix epoch
            on the host's clock; 0 if unknown. It does not influence any result.

    Raises:
        ValueError: `data` does not match `times` and `channels`, or `rate` is not positive.
    """

    device: str
    signal: Signal
    channels: tuple[str, ...]
    rate: float
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]
    arrival: int = 0

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.shape != (len(self.times), len(self.channels)):
            raise ValueError(
                f"a chunk of {len(self.times)} times and {len(self.channels)} channels "
                f"cannot hold data of shape {self.data.shape}"
            )
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate must be a positive number of Hz, not {self.rate}")

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, rows: slice) -> Chunk:
        return replace(self, times=self.times[rows], data=self.data[rows])


EventKind = Literal[
    "connected",  # detail: model, firmware, rate, channels, battery, … where known
    "disconnected",  # detail: why
    "gap",  # detail: why, lost (samples, None if unknown), signal (ppg by default)
    "battery",  # detail: percent
    "wear",  # detail: worn (bool)
    "motion",  # detail: moving (bool)
    "vitals",  # detail: hr (beats per minute), spo2 (percent), as computed by the sensor
    "intervals",  # detail: ms, error_ms, moving: one entry per pulse detected by the sensor
    "quality",  # detail: usable (bool), reasons; emitted when usability changes
    "clock",  # detail: skew_ppm, error_ms, rate (measured, Hz)
    "marker",  # detail: text
    "cuff",  # detail: sbp, dbp in mmHg, and whatever else the cuff reports
    "cuff_undone",  # detail: sbp, dbp in mmHg of the newest reading, which is withdrawn;
    # why: moved, if it was right and no longer applies since the sensor was moved
    "posture",  # detail: wrist_height, height of the sensor above the heart in cm
    "alarm",  # detail: state (on or off), rule, value, limit, start, evidence or end and why
    "notice",  # detail: code (see `NoticeCode`), text; a message for a person, sent once; rate,
    # if it corrects the stated one
]


@dataclass(frozen=True, slots=True)
class Event:
    """Occurrence at a device other than samples: a connection, a gap, a cuff reading, a notice.

    Attributes:
        device: Device id.
        kind: One of `EventKind`.
        start: ns since the Unix epoch. For a gap, the time of the last sample before it.
        end: ns since the Unix epoch. For a gap, the time of the first sample after it; for every
            other kind, the same as `start`.
        detail: Fields listed at `EventKind`; plain JSON values only.
    """

    device: str
    kind: EventKind
    start: int
    end: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def concerns_ppg(self) -> bool:
        """Whether the event concerns the PPG; a gap may also be in another signal."""
        return bool(self.detail.get("signal", "ppg") == "ppg")


Tap = Callable[[str, int, bytes], None]
"""Callback for raw frames before decoding: channel name, arrival in ns since the epoch, bytes."""


class HostClock(Protocol):
    """Clock of this computer; injected, so that tests and replays can control time."""

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        ...

    async def sleep_until(self, time: int) -> None:
        """Wait until `time`, ns since the Unix epoch; may return later, never earlier."""
        ...


class Device(Protocol):
    """Source of samples and events; nothing is connected or opened before `open`.

    Attributes:
        id: Stable name in topics and files: lower-case letters, digits, ``-``, ``_`` and ``.``.
            Final once `open` has been entered: a sensor selected by kind gets its id then.
        source: ``live``, ``replay`` or ``simulated``; published with every beat.
        polarity: +1 if a pulse makes the samples rise, -1 if systole is a minimum (reflected-light
            counts), 0 if unknown, in which case the pipeline determines it.
        site: Measurement site: ``wrist``, ``finger``, ``head`` or ``unknown``.
    """

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> Source: ...
    @property
    def polarity(self) -> Literal[-1, 0, 1]: ...
    @property
    def site(self) -> str: ...

    def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Chunk | Event]]:
        """Connect on entering, disconnect on leaving.

        An event may precede the samples of its time but never follows them, so the result does not
        depend on how samples are cut into chunks. The iterator ends with its source (a file); a
        live device iterates for ever, reconnects by itself and reports that with events.

        Args:
            clock: The host's.
            tap: Receives every raw frame before it is decoded.

        Raises:
            NotFound, Refused: On entering, if retrying would not help.
        """
        ...


def is_real_time(device: Device) -> bool:
    """Return whether a device runs in real time, so that it cannot be paused or sped up.

    Live devices do, and devices that behave like them: a virtual radio, a simulation at real speed.
    A recording or a faster simulation can wait without any change to its content. A device for
    which `source` does not decide this has an attribute ``is_real_time``.
    """
    return bool(getattr(device, "is_real_time", device.source != "replay"))


def shown_source(device: Device) -> Source:
    """Return the source to publish: simulated data stay ``simulated`` when they are replayed.

    A device that replays data from elsewhere names their first source in an attribute ``origin``.
    """
    return "simulated" if getattr(device, "origin", "") == "simulated" else device.source


class DeviceError(InnparError):
    """Base class of device errors; every message ends with what to do next.

    Attributes:
        after_start: Whether the device had already delivered samples.
    """

    after_start = False


class NotFound(DeviceError):
    """The device, file or stream does not exist or was not found."""


class OutOfReach(NotFound):
    """The device is not advertising: expected while its wearer is away, resolves by itself."""


class Refused(DeviceError):
    """The device or file is there but cannot be used as requested."""


class Lost(DeviceError):
    """The connection to the device was lost."""


class BadPacket(DeviceError, ValueError):
    """Frame or row that cannot be decoded.

    Attributes:
        raw: The undecodable bytes.
    """

    def __init__(self, message: str, raw: bytes = b"") -> None:
        super().__init__(message)
        self.raw = raw
