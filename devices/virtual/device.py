"""A real driver with a virtual sensor and a virtual radio: ``--virtual``."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from innpar.devices.base import Chunk, Device, Event, HostClock, Refused, Source, Tap
from innpar.devices.link.reconnect import LiveDevice
from innpar.devices.sensors.catalogue import SENSORS, load
from innpar.devices.virtual.schedule import scheduled
from innpar.devices.virtual.sensors.bluetooth import RadioKind, VirtualSensor
from innpar.devices.virtual.subject import Wearer, simulated
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import FromChunks

PRESSURE_CHUNKS = 64
"""Chunks of true pressure kept for a cuff."""


class VirtualDevice:
    """A `Device` with its real driver, and a virtual sensor and radio.

    Args:
        device: The driver; its radio, or the address where it looks, is replaced.
        wearer: Source of the light at the sensor.
        radio: The virtual radio.
        faults: Faults of the sensor; may be changed at any time.

    Attributes:
        sensor: The virtual sensor, while open.
        pressure: The wearer's latest true pressure, the newest chunk last; empty where unknown.
    """

    source: Source = "simulated"

    def __init__(
        self,
        device: LiveDevice,
        wearer: Wearer = simulated,
        *,
        radio: RadioKind = "bumble",
        faults: Faults | None = None,
    ) -> None:
        self._device = device
        self.polarity = device.polarity
        self.site: str = device.site
        self._wearer = wearer
        self._radio: RadioKind = radio
        self.faults: Faults = faults or Faults()
        self.sensor: VirtualSensor | None = None
        self.pressure: deque[Chunk] = deque(maxlen=PRESSURE_CHUNKS)

    @property
    def id(self) -> str:
        """Id of the driver."""
        return self._device.id

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Put the sensor on the air, then open the driver; see `Device.open`."""
        light = FromChunks(self._wearer())
        self.pressure.clear()
        twin = load(SENSORS[self._device.kind].twin)
        sensor: VirtualSensor = twin(clock, light, faults=self.faults)
        sensor.answer_to(self._device.who)
        async with (
            sensor.on_air(self._radio, self._device),
            scheduled(sensor, self.faults, clock),
        ):
            self.sensor = sensor
            async with (
                self._device.open(clock=clock, tap=tap) as items,
                aclosing(self._with_pressure(items, light)) as both,
            ):
                yield both

    async def _with_pressure(
        self, items: AsyncIterator[Chunk | Event], light: FromChunks
    ) -> AsyncGenerator[Chunk | Event, None]:
        """Yield the driver's items, and the wearer's true pressure up to the time of the light."""
        async for item in items:
            yield item
            if isinstance(item, Chunk) and item.signal == "ppg":
                while light.truth and light.truth[0].times[-1] <= item.times[-1]:
                    self.pressure.append(replace(light.truth.popleft(), device=item.device))
                    yield self.pressure[-1]


def virtual_device(
    device: Device,
    *,
    wearer: Wearer = simulated,
    radio: RadioKind = "bumble",
    faults: Faults | None = None,
) -> VirtualDevice:
    """Return `device` with a virtual sensor and radio in place of the real ones.

    Raises:
        Refused: There is no virtual twin of the sensor, or it cannot have such a fault.
    """
    row = SENSORS.get(device.kind) if isinstance(device, LiveDevice) else None
    if row is None or not row.twin or not isinstance(device, LiveDevice):
        twins = [name for name, sensor in SENSORS.items() if sensor.twin]
        raise Refused(
            f"--virtual: there is no virtual sensor for {device.id}; there is one for "
            f"{', '.join(twins[:-1])} and {twins[-1]}, and a cuff beside them"
        )
    unsupported: dict[str, str] = load(row.twin).unsupported
    for fault, message in unsupported.items():
        if getattr(faults, fault, None):
            raise Refused(message)
    return VirtualDevice(device, wearer, radio=radio, faults=faults)
