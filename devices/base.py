"""The only vocabulary that devices share with the pipeline.

A device yields `Chunk`s of samples and `Event`s, in time order; everything else about it is its own
business. Errors are sorted by what the user can do about them::

    DeviceError
    ├── NotFound      not there: switch it on, put it closer, check the path
    │   └── OutOfReach  nothing is heard of it
    ├── Refused       there, but it said no: the message names the remedy
    ├── Lost          was there: reconnecting is under way or has been given up
    └── BadPacket     a frame or row that cannot be decoded: counted and skipped
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from innpar.errors import InnparError

Signal = Literal["ppg", "acc", "abp"]
Source = Literal["live", "replay", "simulated"]

NS = 1_000_000_000
"""Nanoseconds a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive samples of one sensor, each with its own time.

    Attributes:
        device: Id of the device, as in the MQTT topics.
        signal: ``ppg`` in the sensor's own units, ``acc`` in g, ``abp`` a true arterial pressure in
            mmHg (simulated wearers and patient records carry one).
        channels: One label a column, e.g. ``("ppg0", "ppg1", "ppg2", "ambient")``.
        rate: Nominal sampling rate, Hz. What counts is `times`.
        times: (samples,) int64, ns since the Unix epoch at the sensor. A device hands them on as
            they are; a backward or repeated time is the pipeline's to count and drop.
        data: (samples, channels) float64. NaN marks a sample the sensor could not take.
    """

    device: str
    signal: Signal
    channels: tuple[str, ...]
    rate: float
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.shape != (len(self.times), len(self.channels)):
            raise ValueError(
                f"a chunk of {len(self.times)} times and {len(self.channels)} channels "
                f"cannot hold data of shape {self.data.shape}"
            )
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"a rate is a positive number of Hz, not {self.rate}")

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, rows: slice) -> Chunk:
        return Chunk(
            self.device, self.signal, self.channels, self.rate, self.times[rows], self.data[rows]
        )


EventKind = Literal[
    "connected",  # detail: model, firmware, rate, channels, battery, … as far as known
    "disconnected",  # detail: why
    "gap",  # detail: why, lost (samples, None when unknown), signal (ppg where not said)
    "battery",  # detail: percent
    "wear",  # detail: worn (bool)
    "motion",  # detail: moving (bool)
    "vitals",  # detail: hr (beats a minute), spo2 (percent), by the sensor itself, now and then
    "intervals",  # detail: ms, error_ms, moving: one entry a pulse the sensor itself found
    "quality",  # detail: usable (bool), reasons; the signal became usable or stopped being so
    "clock",  # detail: skew_ppm, error_ms
    "marker",  # detail: text
    "cuff",  # detail: sbp, dbp in mmHg, and whatever the cuff told beside them
    "posture",  # detail: wrist_height, cm by which the sensor lies above the heart
    "notice",  # detail: code (see `NoticeCode`), text; something a person should know, once; rate,
    # where it corrects that
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a device, beside its samples.

    Attributes:
        device: Id of the device.
        kind: One of `EventKind`.
        start: ns since the Unix epoch. For a gap: the time of the last sample before it.
        end: The same as `start`, but for a gap: the time of the first sample after it.
        detail: What the kind says above; plain JSON values only.
    """

    device: str
    kind: EventKind
    start: int
    end: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_light(self) -> bool:
        """Whether it is of the pulse wave; a gap may also be of another signal."""
        return bool(self.detail.get("signal", "ppg") == "ppg")


Tap = Callable[[str, int, bytes], None]
"""Receives (channel name, arrival time in ns since the epoch, raw bytes) before decoding."""


class HostClock(Protocol):
    """The time on this computer; injected so that tests and replays own it."""

    def now(self) -> int:
        """Return ns since the Unix epoch."""
        ...

    async def sleep_until(self, time: int) -> None:
        """Return at or after `time`, ns since the Unix epoch."""
        ...


class Device(Protocol):
    """Where samples come from. A value: nothing is opened before `open`.

    Attributes:
        id: Stable name in topics and files: lower-case letters, digits, ``-``, ``_`` and ``.``.
            Final once `open` has been entered; a sensor asked for by kind is only known then.
        source: ``live``, ``replay`` or ``simulated``; every published beat says it.
        polarity: +1 where a pulse makes the samples rise, -1 where systole is a minimum
            (reflected-light counts), 0 where it is not known and the pipeline must find out.
        site: Where it is worn: ``wrist``, ``finger``, ``head`` or ``unknown``.
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

        An event may come ahead of the samples of its time, never after them, so that how samples
        are cut into chunks changes nothing. The iterator ends when the source has ended (a file);
        a live device iterates for ever, reconnecting by itself and saying so with events.

        Raises:
            NotFound, Refused: On entering, where trying again would not help.
        """
        ...


def by_clock(device: Device) -> bool:
    """Whether a device's time is the host's, so that it can neither wait nor be made to.

    So is what is live, and what acts as if it were: a virtual radio, a simulation at the speed of
    time. A recording or a faster simulation waits without changing what happened. A device that
    is not plain from its `source` says so itself, with an attribute ``by_clock``.
    """
    return bool(getattr(device, "by_clock", device.source != "replay"))


def shown_source(device: Device) -> Source:
    """What is said of a device's numbers: simulated ones are, replayed too, never a person's.

    A device whose samples come from elsewhere says where they began with an attribute ``origin``.
    """
    return "simulated" if getattr(device, "origin", "") == "simulated" else device.source


class DeviceError(InnparError):
    """Base of what can go wrong with a device; the message ends with what to do next.

    Attributes:
        after_start: Whether the device had already delivered samples.
    """

    after_start = False


class NotFound(DeviceError):
    """The device, file or stream is not there."""


class OutOfReach(NotFound):
    """Nothing is heard of the device: expected while its wearer is away, and mends itself."""


class Refused(DeviceError):
    """The device is there and said no."""


class Lost(DeviceError):
    """The device was there and is gone."""


class BadPacket(DeviceError, ValueError):
    """A frame or row that cannot be decoded.

    Attributes:
        raw: The bytes in question.
    """

    def __init__(self, message: str, raw: bytes = b"") -> None:
        super().__init__(message)
        self.raw = raw
