"""The interface of virtual sensors, and its implementation for those with Bluetooth."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal, Protocol

from innpar.devices.link.ble import Radio
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.radio.peripheral import Peripheral

RadioKind = Literal["bumble", "bluez"]
"""Virtual radio: controllers in this process, or bleak's own backend on a fake BlueZ."""


class VirtualSensor(Protocol):
    """A virtual sensor, whatever its link; made from host clock, light and faults.

    Attributes:
        unsupported: Name of each fault of `Faults` that it cannot have → message for the user.
    """

    unsupported: ClassVar[Mapping[str, str]]

    def answer_to(self, who: str) -> None:
        """Take the name, number or address that a driver looks for; empty for its own."""
        ...

    def reachable(self, on: bool) -> None:
        """Break the link and stay out of reach, or come back."""
        ...

    def power(self, on: bool) -> None:
        """Switch off, as with an empty battery, or on again."""
        ...

    def discharge(self, percent: int) -> None:
        """Set the level of the battery, where the sensor reports one."""
        ...

    def on_air(self, radio: RadioKind, driver: Any) -> AbstractAsyncContextManager[None]:
        """Have its driver find this sensor, and no other, while the context is open."""
        ...


class BluetoothDriver(Protocol):
    """The driver of a Bluetooth sensor.

    Attributes:
        radio: The Bluetooth adapter.
    """

    radio: Radio


class BluetoothSensor(Peripheral):
    """A virtual sensor with Bluetooth; see `VirtualSensor` and `Peripheral`."""

    name: str
    address: str
    unsupported: ClassVar[Mapping[str, str]] = {
        "refuse": "--fault sdk: only a Polar has an SDK mode; leave it out"
    }

    def answer_to(self, who: str) -> None:
        """Take an address, or a name that ends as the driver expects."""
        if ":" in who:
            self.address = who.upper()
        elif who:
            stem = re.split("[- ]", self.name)[0]
            self.name = f"{stem}{self.name[len(stem) :][:1] or '-'}{who.upper()}"

    def hang_up(self) -> None:
        """Break the link without notice."""
        if self.air is not None:
            self.air.hang_up()

    def reachable(self, on: bool) -> None:
        """Begin or cease to advertise; ceasing breaks the link."""
        if self.air is not None:
            self.air.advertise(on)
            if not on:
                self.air.hang_up()

    def power(self, on: bool) -> None:
        """Switch off or on again."""
        self.reachable(on)

    def discharge(self, percent: int) -> None:
        """Do nothing: a sensor that reports its battery overrides this."""

    @asynccontextmanager
    async def on_air(self, radio: RadioKind, driver: BluetoothDriver) -> AsyncIterator[None]:
        """Put the sensor on a virtual radio of its own, and have the driver use it.

        Raises:
            Refused: Bumble is not installed.
        """
        if radio == "bluez":
            async with bluez([self]):
                driver.radio = Radio()  # bleak finds the fake BlueZ by itself
                yield
        else:
            async with bumble([self]) as virtual:
                driver.radio = virtual
                yield
