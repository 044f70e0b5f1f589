"""Bluetooth Low Energy: finding, connecting, and notifications as an orderly queue.

With `ear` the only file that knows bleak. Everything a radio can do wrong comes out as one of the
errors of `devices.base`, each ending with what to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from innpar.devices.base import DeviceError, HostClock, Lost, NotFound, OutOfReach, Refused
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.link.scanner import SharedScanner, ear_of, scanning

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

log: logging.Logger = logging.getLogger(__name__)

CONNECT_SECONDS = 20.0
"""After this long an attempt to connect is given up; radio time, not the host clock's."""


def sig(number: str) -> str:
    """Return the full form of a 16-bit UUID, both in hex."""
    return f"0000{number}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Radio:
    """Which Bluetooth to use; all None is the computer's own first adapter.

    Attributes:
        adapter: ``hci1`` and the like (Linux).
        scanner: Another scanner for bleak: a virtual radio, a remote one.
        client: Its client.
    """

    adapter: str | None = None
    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None

    def options(self, backend: object) -> dict[str, Any]:
        """Return the keyword arguments for bleak."""
        given: dict[str, Any] = {} if backend is None else {"backend": backend}
        return given if self.adapter is None else {**given, "bluez": {"adapter": self.adapter}}

    @property
    def ear(self) -> SharedScanner:
        """What listens with it, shared by all who use it; unnamed, it is most often hci0."""
        return ear_of((self.adapter or "hci0", self.scanner))


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that advertises.

    Attributes:
        name: As advertised, empty where it has none (yet: it may come with the next packet).
        address: Bluetooth address; a UUID on macOS.
        rssi: Signal strength, dBm.
        services: UUIDs it advertises.
        handle: What the operating system needs to connect; the address where only that is known.
    """

    name: str
    address: str
    rssi: int
    services: tuple[str, ...]
    handle: BLEDevice | str = field(repr=False, compare=False)


@contextmanager
def _remedies() -> Iterator[None]:
    """Turn what bleak, D-Bus and the system raise into errors that say what to do."""
    from bleak.exc import (
        BleakBluetoothNotAvailableError,
        BleakDBusError,
        BleakDeviceNotFoundError,
        BleakError,
    )

    try:
        yield
    except BleakBluetoothNotAvailableError as error:
        raise NotFound(
            f"no Bluetooth to use ({error.args[0]}): plug in an adapter, or switch it on with "
            "`rfkill unblock bluetooth` and `bluetoothctl power on`; --virtual needs none"
        ) from error
    except BleakDeviceNotFoundError as error:
        raise Lost(f"{error.identifier} has gone out of reach: bring it closer") from error
    except BleakDBusError as error:
        raise _bus_error(error) from error
    except TimeoutError as error:
        raise Lost("the radio did not answer in time: bring the device closer") from error
    except BleakError as error:
        raise Lost(f"the radio failed ({error}): trying again may help") from error
    except (OSError, EOFError) as error:
        raise NotFound(
            f"no D-Bus system bus to reach Bluetooth by ({error or type(error).__name__}): start "
            "dbus and the bluetooth service (in a container, mount /run/dbus); --virtual needs none"
        ) from error


def _bus_error(error: Any) -> DeviceError:
    name = str(error.dbus_error)
    if name.endswith("ServiceUnknown"):
        return NotFound(
            "the BlueZ service does not run: `systemctl start bluetooth`; --virtual needs none"
        )
    if name.endswith(("AccessDenied", "NotAuthorized", "NotPermitted")):
        return Refused(
            f"Bluetooth is not permitted here ({error}): add the user to the group bluetooth"
        )
    return Lost(f"BlueZ failed ({error}): trying again may help")


_taken: set[str] = set()


async def scan(seconds: float, radio: Radio) -> list[Sighting]:
    """Listen for `seconds`; return everything that advertises, the strongest first.

    Raises:
        NotFound, Refused, Lost: There is no Bluetooth, or it may not be used.
    """
    from bleak import BleakScanner

    with _remedies():
        async with (
            radio.ear.silent(),
            scanning(BleakScanner(**radio.options(radio.scanner))) as scanner,
        ):
            await asyncio.sleep(seconds)
            found = scanner.discovered_devices_and_advertisement_data.values()
    return sorted((_sighting(*pair) for pair in found), key=lambda s: -s.rssi)


def _sighting(device: BLEDevice, heard: AdvertisementData) -> Sighting:
    name = heard.local_name or device.name or ""
    return Sighting(name, device.address, heard.rssi, tuple(heard.service_uuids), device)


async def find(
    wanted: Callable[[Sighting], bool], seconds: float, radio: Radio, remedy: str
) -> Sighting:
    """Return the first thing that is `wanted` and not already connected to this process.

    It counts as connected from now on, until a connection to it has been left.

    Args:
        wanted: Which will do.
        seconds: To listen, together with all who do; while somebody connects nobody can.
        radio: Which Bluetooth.
        remedy: What to do where it is not heard.

    Raises:
        OutOfReach: Nothing within `seconds`; the message is `remedy`.
        NotFound: There is no Bluetooth.
        Refused, Lost: Bluetooth may not be used, or failed.
    """
    found: list[Sighting] = []

    def take(device: BLEDevice, heard: AdvertisementData) -> bool:
        sighting = _sighting(device, heard)
        if sighting.address in _taken or not wanted(sighting):
            return False
        found.append(sighting)
        _taken.add(sighting.address)
        return True

    try:
        with _remedies():
            await radio.ear.listen(take, seconds, radio.options(radio.scanner))
    except BaseException:
        _taken.difference_update(sighting.address for sighting in found)
        raise
    if not found:
        raise OutOfReach(remedy)
    return found[0]


class BleLink:
    """One connection; `connect` makes it. Its notifications wait in one bounded queue."""

    def __init__(self, client: BleakClient, clock: HostClock) -> None:
        self._client = client
        self._clock = clock
        self._inbox = Inbox(clock, "the link was lost: bring the device closer, or charge it")
        self.next = self._inbox.next

    @property
    def dropped(self) -> int:
        """Notifications thrown away, the oldest first, because the reader was too slow."""
        return self._inbox.dropped

    @property
    def mtu(self) -> int | None:
        """Bytes of an ATT packet, None where the system does not tell."""
        sizes = [
            c.max_write_without_response_size
            for c in self._client.services.characteristics.values()
        ]
        return max(sizes) + 3 if sizes else None

    @property
    def up(self) -> bool:
        """Whether the connection still stands."""
        return self._inbox.up

    def has(self, uuid: str) -> bool:
        """Return whether the device has this characteristic."""
        return self._client.services.get_characteristic(uuid) is not None

    async def read(self, uuid: str) -> bytes:
        """Read a characteristic.

        Raises:
            Lost: The device did not answer.
        """
        with _remedies():
            return bytes(await self._client.read_gatt_char(uuid))

    async def write(self, uuid: str, data: bytes, *, response: bool | None = True) -> None:
        """Write a characteristic, with a response, without, or (None) as it offers.

        Raises:
            Lost: The device did not answer.
        """
        with _remedies():
            await self._client.write_gatt_char(uuid, data, response=response)

    async def subscribe(
        self, uuid: str, channel: str, aside: Callable[[Arrival], bool] | None = None
    ) -> None:
        """Have the notifications or indications of a characteristic delivered.

        Args:
            uuid: The characteristic.
            channel: What its arrivals are called.
            aside: Is shown each one first; what it returns True for does not enter the queue.

        Raises:
            Lost: The device did not agree.
        """

        def deliver(_: object, data: bytearray) -> None:
            arrival = Arrival(channel, self._clock.now(), bytes(data))
            if aside is None or not aside(arrival):
                self._inbox.post(arrival)

        with _remedies():
            await self._client.start_notify(uuid, deliver)

    def hung_up(self) -> None:
        """Hear that the connection is gone."""
        self._inbox.close()


def taken(address: str) -> bool:
    """Return whether something in this process is connected to it, or about to be."""
    return address in _taken


@asynccontextmanager
async def connect(
    sighting: Sighting, radio: Radio, clock: HostClock, seconds: float = CONNECT_SECONDS
) -> AsyncIterator[BleLink]:
    """Connect within `seconds` of radio time on entering, disconnect on leaving.

    Raises:
        Lost, NotFound, Refused: On entering, where no connection came about.
    """
    from bleak import BleakClient

    links: list[BleLink] = []
    _taken.add(sighting.address)
    try:
        client = BleakClient(
            sighting.handle,
            lambda _: links[0].hung_up(),
            timeout=seconds,
            **radio.options(radio.client),
        )
        links.append(BleLink(client, clock))
        try:
            with _remedies():
                async with radio.ear.silent():
                    await asyncio.wait_for(client.connect(), seconds)
            yield links[0]
        finally:
            # Whatever fails here, the link is over and its user has been told why, or will be.
            with suppress(DeviceError), _remedies():
                await asyncio.wait_for(client.disconnect(), CONNECT_SECONDS)
    finally:
        _taken.discard(sighting.address)
