"""A real driver on a virtual radio: what ``--virtual`` puts in the place of a sensor."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Literal

from innpar.devices.base import Chunk, Device, Event, HostClock, Refused, Source, Tap
from innpar.devices.link.ble import Radio
from innpar.devices.sensors.emotibit.driver import EmotiBit
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.sensors.polar.driver import Polar
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.radio.peripheral import Peripheral
from innpar.devices.virtual.schedule import fated
from innpar.devices.virtual.sensors.berrymed import VirtualBerryMed
from innpar.devices.virtual.sensors.emotibit import VirtualEmotiBit
from innpar.devices.virtual.sensors.muse import VirtualMuse
from innpar.devices.virtual.sensors.o2ring import VirtualO2Ring
from innpar.devices.virtual.sensors.polar import OH1, VERITY, VirtualPolar
from innpar.devices.virtual.sensors.simple import Simple
from innpar.devices.virtual.subject import Wearer, simulated
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import FromChunks, Light

GATT: dict[str, Callable[..., Simple]] = {
    "muse": VirtualMuse,
    "berrymed": VirtualBerryMed,
    "o2ring": VirtualO2Ring,
}
"""Family → its virtual sensor, made of clock, light and faults."""

FELT = 64
"""Chunks of true pressure remembered for a cuff."""

Driver = Polar | Gatt | EmotiBit
Sensor = Peripheral | VirtualEmotiBit

Air = Literal["bumble", "bluez"]
"""Which radio: controllers in this process, or bleak's own backend on a fake BlueZ."""


class VirtualDevice:
    """A `Device` whose driver is the real one, and whose sensor and radio are not.

    Args:
        device: The driver; its radio, or where it looks, is replaced.
        wearer: What the sensor sees.
        air: The radio.
        faults: What goes wrong; may be changed at any time.

    Attributes:
        sensor: The virtual sensor, while open.
        felt: The wearer's true pressure of late, the newest last; empty where it is not known.
    """

    def __init__(
        self,
        device: Driver,
        wearer: Wearer = simulated,
        *,
        air: Air = "bumble",
        faults: Faults | None = None,
    ) -> None:
        self._device = device
        self._wearer = wearer
        self._air = air
        self.faults: Faults = faults or Faults()
        self.sensor: Sensor | None = None
        self.felt: deque[Chunk] = deque(maxlen=FELT)

    @property
    def id(self) -> str:
        return self._device.id

    @property
    def source(self) -> Source:
        """Never ``live``: nobody wears it."""
        return "simulated"

    @property
    def polarity(self) -> Literal[-1, 0, 1]:
        return self._device.polarity

    @property
    def site(self) -> str:
        return self._device.site

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Put the sensor on the air, then open the driver; see `Device.open`."""
        light = FromChunks(self._wearer())
        self.felt.clear()
        sensor = _sensor(self._device, clock, light, self.faults)
        async with on_air(self._air, sensor, self._device), fated(sensor, self.faults, clock):
            self.sensor = sensor
            async with (
                self._device.open(clock=clock, tap=tap) as items,
                aclosing(self._with_truth(items, light)) as both,
            ):
                yield both

    async def _with_truth(
        self, items: AsyncIterator[Chunk | Event], light: FromChunks
    ) -> AsyncGenerator[Chunk | Event, None]:
        """Yield the driver's items, and the wearer's true pressure as far as the light has come."""
        async for item in items:
            yield item
            if isinstance(item, Chunk) and item.signal == "ppg":
                while light.truth and light.truth[0].times[-1] <= item.times[-1]:
                    self.felt.append(replace(light.truth.popleft(), device=item.device))
                    yield self.felt[-1]


def _sensor(device: Driver, clock: HostClock, light: Light, faults: Faults) -> Sensor:
    """Return the virtual sensor that a driver is for, called as the driver wants it."""
    if isinstance(device, EmotiBit):
        serial = device.serial or "MD-V6-0000042"
        return VirtualEmotiBit(clock, light, serial=serial, faults=faults)
    if isinstance(device, Gatt):
        sensor = GATT[device.family.name](clock, light, faults=faults)
        called(sensor, device.who)
        return sensor
    number = re.sub("[^0-9A-F]", "", device.who.upper())[-8:].rjust(8, "8")
    model = OH1 if device.model == "polar-oh1" else VERITY
    return VirtualPolar(clock, light, model=model, number=number, faults=faults)


def called(sensor: Simple, who: str) -> None:
    """Give a sensor the address or the name that somebody asks for."""
    if ":" in who:
        sensor.address = who.upper()
    elif who:
        stem = re.split("[- ]", sensor.name)[0]
        sensor.name = f"{stem}{sensor.name[len(stem) :][:1] or '-'}{who.upper()}"


@asynccontextmanager
async def on_air(air: Air, sensor: Sensor, device: Driver) -> AsyncIterator[None]:
    """Have the driver find the sensor, and nothing else."""
    if isinstance(sensor, VirtualEmotiBit):
        async with sensor.serving():
            assert isinstance(device, EmotiBit)
            device.host, device.port = sensor.host, sensor.port
            yield
        return
    service: AbstractAsyncContextManager[object] = (bluez if air == "bluez" else bumble)([sensor])
    async with service as radio:
        assert not isinstance(device, EmotiBit)
        device.radio = radio if isinstance(radio, Radio) else Radio()
        yield


def virtual_device(
    device: Device,
    *,
    wearer: Wearer = simulated,
    air: Air = "bumble",
    faults: Faults | None = None,
) -> VirtualDevice:
    """Return `device` with a virtual sensor and radio in the place of the real ones.

    Raises:
        Refused: There is no virtual sensor of its kind, or it cannot have such a fault.
    """
    known = isinstance(device, Gatt) and device.family.name in GATT
    if not isinstance(device, Polar | EmotiBit) and not known:
        raise Refused(
            f"--virtual: there is no virtual sensor for {device.id}; there is one for "
            f"polar-verity, polar-oh1, {', '.join(GATT)} and emotibit, and a cuff beside them"
        )
    if faults is not None and faults.refuse and not isinstance(device, Polar):
        raise Refused(f"--fault sdk: only a Polar has an SDK mode, not {device.id}")
    if faults is not None and faults.mtu and isinstance(device, EmotiBit):
        raise Refused("--fault mtu: an EmotiBit has no Bluetooth")
    assert isinstance(device, Polar | Gatt | EmotiBit)
    return VirtualDevice(device, wearer, air=air, faults=faults)
