"""Virtual radio by Bumble: virtual controllers on one link in this process.

Everything above the physical layer is real: advertising, L2CAP, ATT, MTU exchange, discovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from innpar.devices.base import Refused
from innpar.devices.link.ble import Radio
from innpar.devices.virtual.radio.peripheral import Air, Peripheral

if TYPE_CHECKING:
    from bumble.device import Connection, Device
    from bumble.link import LocalLink

CENTRAL = "F0:F1:F2:F3:F4:F5"
ADVERTISE_EVERY = 20.0
"""Advertising interval, ms: the shortest allowed, so that scans are short."""


@asynccontextmanager
async def bumble(peripherals: Sequence[Peripheral]) -> AsyncIterator[Radio]:
    """Run `peripherals` on a virtual radio; yield the radio with which to reach them.

    Raises:
        Refused: Bumble is not installed.
    """
    try:
        from bumble.link import LocalLink
    except ImportError:
        raise Refused("a virtual radio needs bumble; run scripts/setup virtual") from None

    from innpar.devices.virtual.radio.bumble_backend import backend

    link = LocalLink()  # type: ignore[no-untyped-call]  # Bumble does not annotate it
    async with AsyncExitStack() as stack:
        central = await stack.enter_async_context(_powered(link, CENTRAL, "central"))
        for peripheral in peripherals:
            await stack.enter_async_context(_on_air(link, peripheral))
        scanner, client = backend(central)
        yield Radio(scanner=scanner, client=client)


@asynccontextmanager
async def _powered(link: LocalLink, address: str, name: str) -> AsyncIterator[Device]:
    from bumble.controller import Controller
    from bumble.device import Device
    from bumble.hci import Address
    from bumble.host import Host
    from bumble.transport.common import AsyncPipeSink

    controller = Controller(name, link=link, public_address=address)
    device = Device(
        name=name, address=Address(address), host=Host(controller, AsyncPipeSink(controller))
    )
    from innpar.devices.virtual.radio.bumble_backend import whole

    await whole(device.power_on())
    try:
        yield device
    finally:
        await whole(device.power_off())
        link.remove_controller(controller)


@asynccontextmanager
async def _on_air(link: LocalLink, peripheral: Peripheral) -> AsyncIterator[None]:
    from innpar.devices.virtual.radio.bumble_backend import whole

    async with _powered(link, peripheral.address, peripheral.name) as device:
        station = _Station(device, peripheral)
        await whole(station.begin())
        try:
            yield
        finally:
            await station.end()


class _Station:
    """One peripheral on a controller: serves a connection, and advertises without one."""

    def __init__(self, device: Device, peripheral: Peripheral) -> None:
        self._device = device
        self._peripheral = peripheral
        self._values: dict[str, Any] = {}
        self._wanted = True
        self._connection: Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Add the services and start advertising."""
        from bumble.core import UUID, AdvertisingData
        from bumble.device import Device
        from bumble.gatt import Service

        device, peripheral = self._device, self._peripheral
        device.gatt_server.max_mtu = peripheral.mtu
        for uuid, characteristics in peripheral.services.items():
            for c in characteristics:
                self._values[c.uuid] = _characteristic(peripheral, c.uuid, c.properties)
            device.add_service(Service(UUID(uuid), [self._values[c.uuid] for c in characteristics]))
        kinds = AdvertisingData.Type
        services = b"".join(bytes.fromhex(u)[::-1] for u in peripheral.advertised)
        device.advertising_data = bytes(
            AdvertisingData(
                [
                    (kinds.FLAGS, b"\x06"),
                    (kinds.COMPLETE_LOCAL_NAME, peripheral.name.encode()),
                    (kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, services),
                ]
            )
        )
        device.on(Device.EVENT_CONNECTION, self._connected)
        peripheral.air = Air(hang_up=self._hang_up, advertise=self._switch)
        await self._advertise()

    async def end(self) -> None:
        """Disconnect and stop advertising."""
        self._wanted = False
        self._peripheral.air = None
        if self._connection is not None:
            await self._connection.disconnect()
        while self._tasks:  # never cancelled: Bumble does not survive interrupted commands
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._device.stop_advertising()

    async def _advertise(self) -> None:
        await self._device.start_advertising(
            advertising_interval_min=ADVERTISE_EVERY, advertising_interval_max=ADVERTISE_EVERY
        )

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _connected(self, connection: Connection) -> None:
        self._connection = connection
        serving = self._spawn(self._serve(connection))

        def on_disconnection(_: object) -> None:
            self._connection = None
            serving.cancel()
            if self._wanted:
                self._spawn(self._advertise())

        connection.on(connection.EVENT_DISCONNECTION, on_disconnection)

    async def _serve(self, connection: Connection) -> None:
        async def send(uuid: str, data: bytes) -> None:
            if len(data) > connection.att_mtu - 3:
                raise ValueError(f"{len(data)} bytes do not fit an MTU of {connection.att_mtu}")
            value = self._values[uuid]
            if "INDICATE" in str(value.properties):
                with suppress(TimeoutError):
                    await self._device.indicate_subscriber(connection, value, data)
                # Bumble waits with asyncio.wait_for, which loses a cancellation in Python 3.11.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError
            else:
                await self._device.notify_subscriber(connection, value, data)

        await self._peripheral.run(send, lambda: connection.att_mtu)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._spawn(self._connection.disconnect())

    def _switch(self, on: bool) -> None:
        self._wanted = on
        if self._connection is None:
            self._spawn(self._advertise() if on else self._device.stop_advertising())


def _characteristic(peripheral: Peripheral, uuid: str, properties: tuple[str, ...]) -> Any:
    from bumble.core import UUID
    from bumble.gatt import Characteristic, CharacteristicValue

    flags = Characteristic.Properties(0)
    for name in properties:
        flags |= Characteristic.Properties[name.upper().replace("-", "_")]
    read: Callable[[Any], bytes] = lambda _: peripheral.read(uuid)  # noqa: E731
    write: Callable[[Any, bytes], None] = lambda _, data: peripheral.write(uuid, data)  # noqa: E731
    permissions = Characteristic.READABLE | Characteristic.WRITEABLE
    return Characteristic(UUID(uuid), flags, permissions, CharacteristicValue(read, write))
