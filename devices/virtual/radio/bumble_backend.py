"""bleak backend on a Bumble device: the central's side of the virtual radio.

bleak takes backend *classes*, so `backend` creates two that are bound to the device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble.core import AdvertisingData, InvalidStateError, ProtocolError
from bumble.device import Advertisement, Connection, Device, Peer

from innpar.devices.link.ble import sig

ATT_MTU = 517
"""ATT MTU requested, the same as by BlueZ, bytes."""

CONNECT_SECONDS = 5.0

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even when cancelled: Bumble does not survive interrupted commands."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def backend(central: Device) -> tuple[type[BaseBleakScanner], type[BaseBleakClient]]:
    """Return bleak's scanner and client classes for `central`."""

    class BumbleScanner(_Scanner):
        _device = central

    class BumbleClient(_Client):
        _device = central

    return BumbleScanner, BumbleClient


class _Scanner(BaseBleakScanner):
    _device: Device

    def __init__(
        self,
        detection_callback: Any,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_: object,
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        self._device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await whole(self._device.start_scanning())

    async def stop(self) -> None:
        self._device.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await whole(self._device.stop_scanning())

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        kinds = AdvertisingData.Type
        raw = advertisement.data
        name = raw.get(kinds.COMPLETE_LOCAL_NAME)
        listed = raw.get(kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS) or []
        services = [uuid.to_hex_str("-").lower() for uuid in listed]
        services = [sig(u) if len(u) == 4 else u for u in services]
        if not self.is_allowed_uuid(services):
            return
        address = advertisement.address.to_string(False)
        data = AdvertisementData(name, {}, {}, services, None, -50, ())
        device = self.create_or_update_device(address, address, name, advertisement.address, data)
        self.call_detection_callbacks(device, data)


class _Client(BaseBleakClient):
    _device: Device

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        super().__init__(address_or_ble_device, **kwargs)
        self._target = (
            address_or_ble_device.details
            if isinstance(address_or_ble_device, BLEDevice)
            else address_or_ble_device
        )
        self._connection: Connection | None = None
        self._mtu = 23

    @property
    def name(self) -> str:
        return str(self._target)

    @property
    def mtu_size(self) -> int:
        return self._mtu

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **_: object) -> None:
        try:
            await whole(self._connect())
        except asyncio.CancelledError:
            await self.disconnect()
            raise

    async def _advertises(self) -> bool:
        """Return whether the address advertises: the emulated controller never gives up itself."""
        found = asyncio.Event()

        def take(advertisement: Advertisement) -> None:
            if advertisement.address.to_string(False) == self._target:
                found.set()

        self._device.on(Device.EVENT_ADVERTISEMENT, take)
        await self._device.start_scanning()
        try:
            await asyncio.wait_for(found.wait(), CONNECT_SECONDS)
        except TimeoutError:
            return False
        finally:
            await self._device.stop_scanning()
            self._device.remove_listener(Device.EVENT_ADVERTISEMENT, take)
        return True

    async def _connect(self) -> None:
        if isinstance(self._target, str) and not await self._advertises():
            raise BleakDeviceNotFoundError(self.address, "nothing answers there")
        try:
            connection = await self._device.connect(self._target, timeout=CONNECT_SECONDS)
        except (TimeoutError, ProtocolError) as error:
            raise BleakDeviceNotFoundError(self.address, "nothing answers there") from error
        self._connection = connection
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            peer = Peer(connection)
            self._mtu = await peer.request_mtu(ATT_MTU)
            self.services = await self._discover(peer)
        except BaseException:
            await self.disconnect()
            raise

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for service in await peer.discover_services():
            own = BleakGATTService(service, service.handle, _full(service.uuid))
            found.add_service(own)
            for c in await service.discover_characteristics():
                names: Any = str(c.properties).lower().replace("_", "-").split("|")
                uuid = _full(c.uuid)
                size = self._size
                found.add_characteristic(
                    BleakGATTCharacteristic(c, c.handle, uuid, names, size, own)
                )
        return found

    def _size(self) -> int:
        return self._mtu - 3

    def _on_disconnection(self, _: object) -> None:
        self._connection = None
        self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._connection is not None:
            await whole(self._connection.disconnect())

    async def pair(self, *_: object, **__: object) -> None:
        raise NotImplementedError("nothing here needs pairing")

    async def unpair(self) -> None:
        raise NotImplementedError("nothing here needs pairing")

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, **_: object
    ) -> bytearray:
        return bytearray(await self._request(characteristic.obj.read_value()))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: Any, response: bool
    ) -> None:
        await self._request(characteristic.obj.write_value(bytes(data), with_response=response))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: Any, **_: object
    ) -> None:
        def changed(value: bytes) -> None:
            callback(bytearray(value))

        await self._request(characteristic.obj.subscribe(changed))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await self._request(characteristic.obj.unsubscribe())

    async def read_gatt_descriptor(self, descriptor: Any, **_: object) -> bytearray:
        return bytearray(await self._request(descriptor.obj.read_value()))

    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        await self._request(descriptor.obj.write_value(bytes(data), with_response=True))

    async def _request(self, request: Any) -> Any:
        """Await a GATT request; raise bleak's error, not Bumble's, if the link breaks."""
        if self._connection is None:
            request.close()
            raise BleakError("not connected")
        return await whole(self._answer(self._connection, request))

    async def _answer(self, connection: Connection, request: Any) -> Any:
        task = asyncio.ensure_future(request)
        disconnected = asyncio.get_running_loop().create_future()

        def on_disconnection(_: object) -> None:
            if not disconnected.done():
                disconnected.set_result(None)

        connection.on(connection.EVENT_DISCONNECTION, on_disconnection)
        try:
            await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise BleakError("the link broke")
            return task.result()
        except (ProtocolError, InvalidStateError) as error:
            raise BleakError(str(error)) from error
        finally:
            task.cancel()
            connection.remove_listener(connection.EVENT_DISCONNECTION, on_disconnection)


def _full(uuid: Any) -> str:
    text = uuid.to_hex_str("-").lower()
    return sig(text) if len(text) == 4 else str(text)
