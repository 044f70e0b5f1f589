"""D-Bus objects of one peripheral in the fake BlueZ: device, services, characteristics."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from innpar.devices.link.ble import sig
from innpar.devices.virtual.radio.peripheral import Air, Characteristic, Peripheral

ADAPTER = "/org/bluez/hci0"
DEVICE1, SERVICE1 = "org.bluez.Device1", "org.bluez.GattService1"
CHARACTERISTIC1 = "org.bluez.GattCharacteristic1"
MOST_MTU = 517

Props = dict[str, tuple[str, Any]]
"""Property → its D-Bus signature and value."""


class Objects(Protocol):
    """Objects on a bus, and their background tasks.

    Attributes:
        objects: Object path → interface → its properties.
    """

    objects: dict[str, dict[str, Props]]

    def add(self, path: str, interface: str, props: Props) -> None:
        """Add an interface of an object and signal it."""
        ...

    def remove(self, path: str) -> None:
        """Remove an object and signal it."""
        ...

    def change(self, path: str, interface: str, **values: Any) -> None:
        """Change properties and signal it."""
        ...

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run `work` as a task, cancelled at the end of the service."""
        ...


class BluezError(Exception):
    """D-Bus error for the reply to a call."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name, self.text = name, text


def path_of(peripheral: Peripheral) -> str:
    """Return the object path of a peripheral."""
    return f"{ADAPTER}/dev_{peripheral.address.replace(':', '_')}"


class Remote:
    """Remote device of BlueZ: one peripheral, its objects and its link."""

    def __init__(self, bluez: Objects, peripheral: Peripheral) -> None:
        self._bluez = bluez
        self.peripheral = peripheral
        self._path = path_of(peripheral)
        self.values: dict[str, Characteristic] = {}
        self._notifying: set[str] = set()
        self._serving: asyncio.Task[Any] | None = None
        self._on = True
        peripheral.air = Air(hang_up=self._hang_up, advertise=self._advertise)

    def on_advertisement(self) -> None:
        """Add or update the device object, if the peripheral advertises."""
        if not self._on or self._serving is not None:
            return
        if self._path in self._bluez.objects:
            self._bluez.change(self._path, DEVICE1, RSSI=-50)
            return
        peripheral = self.peripheral
        uuids = [sig(uuid) for uuid in peripheral.advertised]
        self._bluez.add(
            self._path,
            DEVICE1,
            {
                "Address": ("s", peripheral.address),
                "AddressType": ("s", "random"),
                "Name": ("s", peripheral.name),
                "Alias": ("s", peripheral.name),
                "Adapter": ("o", ADAPTER),
                "Paired": ("b", False),
                "Connected": ("b", False),
                "ServicesResolved": ("b", False),
                "UUIDs": ("as", uuids),
                "RSSI": ("n", -50),
            },
        )

    async def connect(self) -> None:
        """Connect, add the services, and serve."""
        if not self._on:
            raise BluezError("org.bluez.Error.Failed", "Host is down")
        if self._serving is None:
            self._bluez.change(self._path, DEVICE1, Connected=True)
            self._add_services()
            self._bluez.change(self._path, DEVICE1, ServicesResolved=True)
            mtu = min(self.peripheral.mtu, MOST_MTU)
            self._serving = self._bluez.spawn(self.peripheral.run(self._send, lambda: mtu))

    def _add_services(self) -> None:
        handle = 0x0010
        mtu = min(self.peripheral.mtu, MOST_MTU)
        for uuid, characteristics in self.peripheral.services.items():
            service = f"{self._path}/service{handle:04x}"
            props: Props = {
                "UUID": ("s", uuid),
                "Device": ("o", self._path),
                "Primary": ("b", True),
            }
            self._bluez.add(service, SERVICE1, props)
            for characteristic in characteristics:
                handle += 2
                path = f"{service}/char{handle:04x}"
                self.values[path] = characteristic
                props = {
                    "UUID": ("s", characteristic.uuid),
                    "Service": ("o", service),
                    "Flags": ("as", list(characteristic.properties)),
                    "Value": ("ay", b""),
                    "Notifying": ("b", False),
                    "MTU": ("q", mtu),
                }
                self._bluez.add(path, CHARACTERISTIC1, props)
            handle += 2

    def notify(self, path: str, on: bool) -> None:
        """Turn the notifications of a characteristic on or off."""
        (self._notifying.add if on else self._notifying.discard)(path)
        self._bluez.change(path, CHARACTERISTIC1, Notifying=on)

    async def _send(self, uuid: str, data: bytes) -> None:
        for path, characteristic in self.values.items():
            if characteristic.uuid == uuid and path in self._notifying:
                self._bluez.change(path, CHARACTERISTIC1, Value=data)

    async def disconnect(self) -> None:
        """Break the link."""
        serving, self._serving = self._serving, None
        if serving is None:
            return
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        self._notifying.clear()
        self._bluez.change(self._path, DEVICE1, Connected=False, ServicesResolved=False)
        for path in [*self.values, *{path.rsplit("/", 1)[0] for path in self.values}]:
            self._bluez.remove(path)
        self.values.clear()

    def _hang_up(self) -> None:
        self._bluez.spawn(self.disconnect())

    def _advertise(self, on: bool) -> None:
        self._on = on
