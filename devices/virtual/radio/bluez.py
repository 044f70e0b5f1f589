"""Fake BlueZ on a private D-Bus daemon, for bleak's unmodified Linux backend.

It implements the part of ``org.bluez`` that bleak uses: an adapter that discovers, devices that
connect, and characteristics that are read, written and notified, as in BlueZ's D-Bus documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from innpar.devices.virtual.radio.bluez_device import ADAPTER, BluezError, Props, Remote, path_of
from innpar.devices.virtual.radio.peripheral import Peripheral
from innpar.devices.virtual.radio.private_bus import private_bus

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

ADVERTISE_SECONDS = 0.05

_MANAGER = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_ADAPTER1 = "org.bluez.Adapter1"


@asynccontextmanager
async def bluez(peripherals: Sequence[Peripheral]) -> AsyncIterator[FakeBluez]:
    """Run a fake BlueZ with `peripherals` in range; bleak uses it without configuration."""
    from dbus_fast import BusType
    from dbus_fast.aio import MessageBus

    async with private_bus() as daemon:
        bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        fake = FakeBluez(bus, daemon, peripherals)
        bus.add_message_handler(fake.handle)
        await bus.request_name("org.bluez")
        try:
            yield fake
        finally:
            await fake.close()


class FakeBluez:
    """The service ``org.bluez``, run by `bluez`.

    Args:
        bus: Connected message bus.
        daemon: The private daemon; tests may end it.
        peripherals: All peripherals in range.

    Attributes:
        objects: Object path → interface → its properties.
        daemon: As given.
    """

    def __init__(
        self,
        bus: MessageBus,
        daemon: asyncio.subprocess.Process,
        peripherals: Sequence[Peripheral],
    ) -> None:
        self.objects: dict[str, dict[str, Props]] = {}
        self._bus = bus
        self.daemon = daemon
        self._devices = {path_of(p): Remote(self, p) for p in peripherals}
        self._discovering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.plug_in()

    # Actions for tests

    def plug_in(self) -> None:
        """Add the adapter."""
        self.add(
            ADAPTER,
            _ADAPTER1,
            {
                "Address": ("s", "F0:F1:F2:F3:F4:F5"),
                "Name": ("s", "fake"),
                "Alias": ("s", "fake"),
                "Powered": ("b", True),
                "Discovering": ("b", False),
                "Roles": ("as", ["central"]),
                "UUIDs": ("as", []),
            },
        )

    async def unplug(self) -> None:
        """Remove the adapter: every link breaks and all objects are removed."""
        await self._discover(False)
        for remote in self._devices.values():
            await remote.disconnect()
        for path in sorted(self.objects, key=len, reverse=True):
            self.remove(path)

    async def close(self) -> None:
        """End all tasks and leave the bus."""
        await self._discover(False)
        for remote in self._devices.values():
            await remote.disconnect()
            remote.peripheral.air = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bus.connected:
            self._bus.disconnect()
        with suppress(EOFError, OSError):  # a test may have ended the daemon
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    # Objects

    def add(self, path: str, interface: str, props: Props) -> None:
        """Add an interface of an object and signal it."""
        self.objects.setdefault(path, {})[interface] = props
        self._signal("/", _MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, self._variants(path)])

    def remove(self, path: str) -> None:
        """Remove an object and signal it."""
        interfaces = self.objects.pop(path, None)
        if interfaces is not None:
            self._signal("/", _MANAGER, "InterfacesRemoved", "oas", [path, list(interfaces)])

    def change(self, path: str, interface: str, **values: Any) -> None:
        """Change properties and signal it."""
        if path not in self.objects:
            return
        props = self.objects[path][interface]
        for name, value in values.items():
            props[name] = (props[name][0], value)
        changed = {name: self._variants(path)[interface][name] for name in values}
        body = [interface, changed, []]
        self._signal(path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def _variants(self, path: str) -> dict[str, dict[str, Any]]:
        from dbus_fast import Variant

        return {
            interface: {name: Variant(*pair) for name, pair in props.items()}
            for interface, props in self.objects[path].items()
        }

    def _signal(self, path: str, interface: str, member: str, signature: str, body: Any) -> None:
        from dbus_fast import Message

        if self._bus.connected:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run `work` as a task, cancelled at the end of the service."""
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Calls

    def handle(self, message: Message) -> bool:
        """Accept a method call; the reply is sent by a task."""
        from dbus_fast import MessageType

        if message.message_type is not MessageType.METHOD_CALL or message.destination is None:
            return False
        self.spawn(self._reply(message))
        return True

    async def _reply(self, message: Message) -> None:
        from dbus_fast import Message

        try:
            signature, body = await self._call(message)
            reply = Message.new_method_return(message, signature, body)
        except BluezError as error:
            reply = Message.new_error(message, error.name, error.text)
        if self._bus.connected:
            await self._bus.send(reply)

    async def _call(self, message: Message) -> tuple[str, list[Any]]:
        path, member = message.path or "", message.member
        if member == "GetManagedObjects":
            return "a{oa{sa{sv}}}", [{path: self._variants(path) for path in self.objects}]
        if path not in self.objects:
            raise BluezError("org.freedesktop.DBus.Error.UnknownObject", f"no {path}")
        if path == ADAPTER:
            if member in ("StartDiscovery", "StopDiscovery"):
                await self._discover(member == "StartDiscovery")
            return "", []
        remote = next(r for p, r in self._devices.items() if path.startswith(p))
        if member == "Connect":
            await remote.connect()
        elif member == "Disconnect":
            await remote.disconnect()
        elif member == "ReadValue":
            return "ay", [remote.peripheral.read(remote.values[path].uuid)]
        elif member == "WriteValue":
            remote.peripheral.write(remote.values[path].uuid, bytes(message.body[0]))
        elif member in ("StartNotify", "StopNotify"):
            remote.notify(path, member == "StartNotify")
        return "", []

    async def _discover(self, on: bool) -> None:
        if self._discovering is not None:
            self._discovering.cancel()
            await asyncio.gather(self._discovering, return_exceptions=True)
            self._discovering = None
        if on:
            self._discovering = self.spawn(self._scan())

    async def _scan(self) -> None:
        while True:
            for remote in self._devices.values():
                remote.on_advertisement()
            await asyncio.sleep(ADVERTISE_SECONDS)
