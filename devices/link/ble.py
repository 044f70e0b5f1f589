"""Bluetooth Low Energy: scanning, connecting, and notifications in one bounded queue.

Only this module and `scanner` import bleak. Every radio failure is raised as one of the errors of
`devices.base`, each ending with what to do.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from innpar.devices.base import DeviceError, HostClock, Lost, NotFound, OutOfReach, Refused
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.link.scanner import SharedScanner, scanning, shared_scanner_of

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

log: logging.Logger = logging.getLogger(__name__)

CONNECT_SECONDS = 20.0
"""Time limit of a connection attempt; real seconds, not the host clock's."""


def sig(number: str) -> str:
    """Return the full UUID of a 16-bit SIG number, both in hexadecimal."""
    return f"0000{number}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Radio:
    """Bluetooth adapter to use; by default the computer's first one.

    Attributes:
        adapter: Name such as ``hci1`` (Linux).
        scanner: Replacement for bleak's scanner backend: a virtual or remote radio.
        client: Client backend that belongs to `scanner`.
    """

    adapter: str | None = None
    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None

    def options(self, backend: object) -> dict[str, Any]:
        """Return the keyword arguments for bleak."""
        given: dict[str, Any] = {} if backend is None else {"backend": backend}
        return given if self.adapter is None else {**given, "bluez": {"adapter": self.adapter}}

    @property
    def shared_scanner(self) -> SharedScanner:
        """The scanner shared by all users of this radio; an unnamed adapter is taken for hci0."""
        return shared_scanner_of((self.adapter or "hci0", self.scanner))


@dataclass(frozen=True, slots=True)
class Sighting:
    """Advertising device.

    Attributes:
        name: As advertised; empty if it has none or has not sent it yet.
        address: Bluetooth address; a UUID on macOS.
        rssi: Signal strength, dBm.
        services: Advertised UUIDs.
        handle: The operating system's handle for connecting; the address if only that is known.
    """

    name: str
    address: str
    rssi: int
    services: tuple[str, ...]
    handle: BLEDevice | str = field(repr=False, compare=False)


@contextmanager
def _remedies() -> Iterator[None]:
    """Translate exceptions of bleak, D-Bus and the system to errors that say what to do."""
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
        raise Lost(f"{error.identifier} is out of range: bring it closer") from error
    except BleakDBusError as error:
        raise _bus_error(error) from error
    except TimeoutError as error:
        raise Lost("the radio did not answer in time: bring the device closer") from error
    except BleakError as error:
        if _PAIRING.search(str(error)):
            raise Refused(PAIR_FIRST) from error
        raise Lost(f"the radio failed ({error}): try again") from error
    except (OSError, EOFError) as error:
        raise NotFound(
            "no D-Bus system bus for Bluetooth: start dbus and the bluetooth service (in a "
            "container, mount /run/dbus); --virtual needs none"
        ) from error


PAIR_FIRST = (
    "the device wants to be paired first: pair it in the system's Bluetooth settings (Linux: "
    "`bluetoothctl`, then `pair ADDRESS`), as its manual says, and start again"
)
_PAIRING = re.compile(
    r"not paired|insufficient (authentication|encryption|authorization)"
    r"|(authentication|encryption|authorization) is insufficient"
    r"|(att|protocol) error:? *\(?0x0?(5|8|c|f)\b|CBATTErrorDomain Code=(5|8|12|15)\b"
    r"|AuthenticationFailed|AuthenticationRejected",
    re.IGNORECASE,
)
"""Refusal for want of a bond (ATT 05, 08, 0C, 0F), as BlueZ, macOS and Windows report it."""


def _bus_error(error: Any) -> DeviceError:
    name = str(error.dbus_error)
    if _PAIRING.search(f"{name} {error}"):
        return Refused(PAIR_FIRST)
    if name.endswith("ServiceUnknown"):
        return NotFound(
            "the BlueZ service is not running: `systemctl start bluetooth`; --virtual needs none"
        )
    if name.endswith(("AccessDenied", "NotAuthorized", "NotPermitted")):
        return Refused(
            f"Bluetooth is not permitted here ({error}): add the user to the group bluetooth"
        )
    return Lost(f"BlueZ failed ({error}): try again")


_taken: set[str] = set()
"""Addresses that this process is connected or connecting to."""


async def scan(seconds: float, radio: Radio) -> list[Sighting]:
    """Scan for `seconds`; return every advertising device, the strongest first.

    Raises:
        NotFound, Refused, Lost: There is no Bluetooth, or it may not be used.
    """
    from bleak import BleakScanner

    with _remedies():
        async with (
            radio.shared_scanner.silent(),
            scanning(BleakScanner(**radio.options(radio.scanner))) as scanner,
        ):
            await asyncio.sleep(seconds)
            found = scanner.discovered_devices_and_advertisement_data.values()
    return sorted((_sighting(*pair) for pair in found), key=lambda s: -s.rssi)


def _sighting(device: BLEDevice, advertised: AdvertisementData) -> Sighting:
    name = advertised.local_name or device.name or ""
    return Sighting(name, device.address, advertised.rssi, tuple(advertised.service_uuids), device)


async def find(
    wanted: Callable[[Sighting], bool], seconds: float, radio: Radio, remedy: str
) -> Sighting:
    """Return the first device that is `wanted` and not already connected to this process.

    It counts as connected from now on, until a connection to it has ended.

    Args:
        wanted: Whether a sighting is acceptable.
        seconds: Scanning time, not counting the time during which others connect.
        radio: Adapter to use.
        remedy: Message if nothing is found: what to do.

    Raises:
        OutOfReach: Nothing within `seconds`; the message is `remedy`.
        NotFound: There is no Bluetooth.
        Refused, Lost: Bluetooth may not be used, or failed.
    """
    found: list[Sighting] = []

    def take(device: BLEDevice, advertised: AdvertisementData) -> bool:
        sighting = _sighting(device, advertised)
        if sighting.address in _taken or not wanted(sighting):
            return False
        found.append(sighting)
        _taken.add(sighting.address)
        return True

    try:
        with _remedies():
            await radio.shared_scanner.listen(take, seconds, radio.options(radio.scanner))
    except BaseException:
        _taken.difference_update(sighting.address for sighting in found)
        raise
    if not found:
        raise OutOfReach(remedy)
    return found[0]


class BleLink:
    """Connection to a device, made by `connect`, with its notifications in one bounded queue."""

    def __init__(self, client: BleakClient, clock: HostClock) -> None:
        self._client = client
        self._clock = clock
        self._inbox = Inbox(clock, "the link was lost: bring the device closer, or charge it")
        self.next = self._inbox.next

    @property
    def dropped(self) -> int:
        """Notifications discarded, the oldest first, because the reader was too slow."""
        return self._inbox.dropped

    @property
    def mtu(self) -> int | None:
        """ATT packet size, bytes; None if the system does not report it."""
        sizes = [
            c.max_write_without_response_size
            for c in self._client.services.characteristics.values()
        ]
        return max(sizes) + 3 if sizes else None

    @property
    def up(self) -> bool:
        """Whether the connection is up."""
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
        """Write a characteristic, with or without response, or (None) as the device supports.

        Raises:
            Lost: The device did not answer.
        """
        with _remedies():
            await self._client.write_gatt_char(uuid, data, response=response)

    async def subscribe(
        self, uuid: str, channel: str, aside: Callable[[Arrival], bool] | None = None
    ) -> None:
        """Subscribe to the notifications or indications of a characteristic.

        Args:
            uuid: The characteristic.
            channel: Channel name of its arrivals.
            aside: Called first with each arrival; those for which it returns True are not queued.

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
        """Mark the connection as lost."""
        self._inbox.close()


def taken(address: str) -> bool:
    """Return whether this process is connected or connecting to an address."""
    return address in _taken


@asynccontextmanager
async def connect(
    sighting: Sighting, radio: Radio, clock: HostClock, seconds: float = CONNECT_SECONDS
) -> AsyncIterator[BleLink]:
    """Connect within `seconds` (real time) on entering, disconnect on leaving.

    Raises:
        Lost, NotFound, Refused: On entering, if the connection fails.
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
                async with radio.shared_scanner.silent():
                    await asyncio.wait_for(client.connect(), seconds)
            yield links[0]
        finally:
            # Failures here are ignored: the link has ended and its user learns why elsewhere.
            with suppress(DeviceError), _remedies():
                await asyncio.wait_for(client.disconnect(), CONNECT_SECONDS)
    finally:
        _taken.discard(sighting.address)
