"""One running stream of a virtual Polar sensor: samples on a grid, sent in full frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from innpar.devices.base import NS
from innpar.devices.sensors.polar.frames import MeasurementKind, Pulse
from innpar.devices.virtual.sensors.polar_encoder import encode, encode_pulses
from innpar.devices.virtual.world.faults import Faults, Mishaps, cut
from innpar.devices.virtual.world.light import Ints

AHEAD = 160
"""Samples prepared to fill one frame; more than fit."""

PULSES_EVERY = 5 * NS
FRAME_TYPES = {MeasurementKind.ACC: 0x81}


class StreamOwner(Protocol):
    """The sensor that a stream belongs to.

    Attributes:
        faults: Faults of the sensor.
        rng: Its random generator.
        hr: Heart rate it reports, beats a minute.
        worn: Whether it detects skin.
        sent: PPG samples in frames that were sent or lost on purpose.
    """

    faults: Faults
    rng: np.random.Generator
    hr: int
    worn: bool
    sent: int

    @property
    def frame_type(self) -> int:
        """Frame type of its PPG."""
        ...

    @property
    def room(self) -> int:
        """Most bytes of a notification."""
        ...

    @property
    def on_at(self) -> int:
        """Time at which it was switched on, ns since the Unix epoch."""
        ...

    def sense(self, kind: MeasurementKind, host: Ints) -> Ints:
        """Return (samples, channels) counts at these times, ns."""
        ...

    def stamp(self, host: Ints) -> Ints:
        """Return its clock at these times of the host clock, ns since 2000."""
        ...


class VirtualStream:
    """The frames of a sensor between a start and a stop.

    Args:
        sensor: The sensor that sends it.
        kind: PPG, ACC or PPI.
        rate: True sampling rate, Hz of the sensor's clock.
        now: Time of the start, ns.

    Attributes:
        due: Time at which the next frame is full, ns on the host clock.
    """

    def __init__(self, sensor: StreamOwner, kind: MeasurementKind, rate: float, now: int) -> None:
        self._sensor = sensor
        self._kind = kind
        self._rate = rate
        self._next = 0 if not rate else int((now - sensor.on_at) * rate / NS) + 1
        self._mishaps = Mishaps(sensor.faults, sensor.rng, cut)
        self.due: int = now + PULSES_EVERY
        if kind is not MeasurementKind.PPI:
            self._prepare(now)

    def _instants(self, first: int) -> Ints:
        numbers = first + np.arange(AHEAD)
        since: Ints = np.rint(numbers * (NS / self._rate)).astype(np.int64)
        return since + self._sensor.on_at

    def _prepare(self, now: int) -> None:
        """Pack the next frame; it can be sent once its last sample has been taken."""
        sensor = self._sensor
        host = self._instants(self._next)
        kind = self._kind
        frame_type = FRAME_TYPES.get(kind, sensor.frame_type)
        samples = sensor.sense(kind, host)
        self._frame, self._count = encode(
            kind, frame_type, sensor.stamp(host), samples, sensor.room
        )
        late = int(sensor.rng.uniform(0, sensor.faults.jitter) * NS)
        self.due = max(int(host[self._count - 1]) + late, now)

    def take(self, now: int) -> list[bytes]:
        """Return the frames due by `now`."""
        out: list[bytes] = []
        while self.due <= now:
            if self._kind is MeasurementKind.PPI:
                out.append(self._pulses())
                self.due += PULSES_EVERY
                continue
            out += self._mishaps.of(self._frame)
            if self._kind is MeasurementKind.PPG:
                self._sensor.sent += self._count
            self._next += self._count
            self._prepare(self.due)
        return out

    def _pulses(self) -> bytes:
        sensor = self._sensor
        pulse = Pulse(sensor.hr, 60_000 // max(sensor.hr, 1), 6, False, sensor.worn)
        return encode_pulses(0, (pulse,) * (5 * sensor.hr // 60))
