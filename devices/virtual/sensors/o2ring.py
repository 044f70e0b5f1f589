"""A virtual O2Ring."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from innpar.devices.base import NS, HostClock
from innpar.devices.sensors.oximeters import o2ring
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.gatt import Gain
from innpar.devices.virtual.sensors.simple import Simple
from innpar.devices.virtual.world.faults import Faults, Mishaps, cut
from innpar.devices.virtual.world.light import Ints, Light, pulse


class VirtualO2Ring(Simple):
    """An O2Ring: it answers with the samples taken since the last question, as far as it kept them.

    Args:
        clock: The host clock.
        light: Light at its sensor.
        level: Turns (samples,) infrared counts into a byte each; None for an automatic gain.
        faults: May be changed at any time: drop, reorder, truncate, stall, ppm and rate.
        number: Last part of its name.

    Attributes:
        battery: Percent.
        worn: Whether there is a finger in it.
        lost: Samples not fetched in time.
    """

    KEEPS = 250
    """Samples (2 s)."""

    def __init__(
        self,
        clock: HostClock,
        light: Light = pulse,
        *,
        level: Callable[[Ints], list[int]] | None = None,
        faults: Faults | None = None,
        number: str = "0042",
    ) -> None:
        about = [
            Characteristic(o2ring.WRITE, ("write", "write-without-response")),
            Characteristic(o2ring.NOTIFY, ("notify",)),
        ]
        services = {o2ring.SERVICE: about}
        self.faults: Faults = faults or Faults()
        super().__init__(
            f"O2Ring {number}", services, address="E1:E2:E3:04:05:06", mtu=self.faults.mtu or 23
        )
        self.battery, self.worn, self.lost = 88, True, 0
        self._clock, self._light = clock, light
        self._level = level or Gain(5, 95)
        self._on_at = clock.now()
        self._next = 0
        self._mishaps: Mishaps[bytes] = Mishaps(self.faults, np.random.default_rng(0), cut)

    def discharge(self, percent: int) -> None:
        """Set the level of the battery."""
        self.battery = percent

    def write(self, uuid: str, data: bytes) -> None:
        """Answer a question."""
        super().write(uuid, data)
        if data == o2ring.ASK:
            answer = self._answer()
            for part in self._mishaps.of(answer):
                step = self.mtu - 3
                for at in range(0, len(part), step):
                    self.post(o2ring.NOTIFY, part[at : at + step])

    def _answer(self) -> bytes:
        rate = o2ring.RATE * self.faults.off_rate * (1 + self.faults.ppm * 1e-6)
        taken = int((self._clock.now() - self._on_at) * rate / NS)
        first = max(self._next, taken - self.KEEPS)
        self.lost += first - self._next
        self._next = max(taken, first)
        times = self._on_at + np.rint(np.arange(first, self._next) * (NS / rate)).astype(np.int64)
        samples = bytes(self._level(self._light(times)[:, 0]) if len(times) else [])
        about = struct.pack("<BHBBBB3xH", 97, 66, self.battery, 0, 5, self.worn, len(samples))
        return o2ring.build(0, about + samples, first=o2ring.ANSWER)
