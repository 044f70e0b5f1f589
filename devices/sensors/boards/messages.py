"""Lines of JSON in messages over the network: phones and ESP32s as bridges of any sensor.

A message is one JSON object a sample, ``{"t":12000,"ir":52310,"red":48211}``, or several, one a
line; see `message_decoder`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from innpar.devices.base import HostClock, Refused, Tap
from innpar.devices.link.inbox import Inbox
from innpar.devices.link.mqtt_subscriber import Subscription, mqtt_subscriber
from innpar.devices.link.reconnect import LiveDevice, ReconnectingDevice
from innpar.devices.link.udp_listener import udp_listener
from innpar.devices.link.websocket_listener import websocket_listener
from innpar.devices.options import Options, slug
from innpar.devices.sensors.boards.line_format import UNITS
from innpar.devices.sensors.boards.message_decoder import MessageDecoder

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

HOST = "127.0.0.1"
UDP_PORT, WS_PORT = 5005, 5006
BROKER = "127.0.0.1:1883"
TOPIC = "ppg"
STALL = 5.0
"""s without a message after which it is reported."""


class Messages(LiveDevice):
    """A sender of lines of JSON as a `Device`.

    Args:
        kind: Its name in ``--device``.
        host, port: Address to listen at, or of the broker.
        decoder: Device id → its decoder.
        opening: Device and clock → link.
        identity: Its id.
        silent: Text of the notice when nothing comes.
    """

    def __init__(
        self,
        kind: str,
        host: str,
        port: int,
        decoder: Callable[[str], MessageDecoder],
        opening: Callable[[Messages, HostClock], AbstractAsyncContextManager[Inbox]],
        *,
        identity: str,
        silent: str,
        polarity: Literal[-1, 0, 1] = 0,
        site: str = "unknown",
    ) -> None:
        self.kind, self.host, self.port, self.who = kind, host, port, ""
        self.decoder, self.opening, self.silent = decoder, opening, silent
        self.polarity, self.site = polarity, site
        self._id = identity

    @property
    def id(self) -> str:
        """``json-udp-5005``."""
        return self._id

    def _connection(self, clock: HostClock, tap: Tap | None) -> _MessageConnection:
        return _MessageConnection(self, clock, tap)


class _MessageConnection(ReconnectingDevice):
    """One opening: senders come and go."""

    useless_text = (
        "messages come, but none is a sample; send lines such as "
        '{"t":12000,"ir":52310}, with t in milliseconds'
    )

    def __init__(self, device: Messages, clock: HostClock, tap: Tap | None) -> None:
        super().__init__(device, clock, tap, stall=STALL, patience=None, longest=1.0)
        self.silence_text = device.silent
        self._device = device
        self._lines = device.decoder(device.id)

    async def _connect_link(self, stack: AsyncExitStack) -> Inbox:
        """Listen, or subscribe."""
        return await stack.enter_async_context(self._device.opening(self._device, self._clock))

    @property
    def _decoder(self) -> MessageDecoder:
        return self._lines

    def _describe(self) -> dict[str, Any]:
        return {"model": self._device.kind, "host": self._device.host, "port": self._device.port}

    async def _restart(self) -> None:
        """Do nothing: a sender is not addressed."""


KEYS: Mapping[str, str] = {
    "rate": "sampling rate in Hz, if known",
    "time": "key of the sender's time (t)",
    "unit": "unit of that time: ms, us, ns or s",
    "channel": "keys of the columns to keep, separated by commas",
    "polarity": "1 if a pulse makes the samples rise, -1 if it makes them fall",
    "site": "place on the body: wrist, finger or head",
    "id": "name in topics and files",
}


def _create(
    kind: str,
    given: Options,
    host: str,
    port: int,
    opening: Callable[[Messages, HostClock], AbstractAsyncContextManager[Inbox]],
    *,
    name: str,
    silent: str,
) -> Messages:
    rate, time, unit = (
        given.number("rate", 5, 2000),
        given.text("time"),
        given.choice("unit", UNITS),
    )
    keep = [part for part in (given.text("channel") or "").split(",") if part]
    signs: dict[str | None, Literal[-1, 0, 1]] = {"1": 1, "-1": -1}
    return Messages(
        kind,
        host,
        port,
        lambda device: MessageDecoder(device, rate, time=time, unit=unit, keep=keep),
        opening,
        identity=given.identity(slug(f"{kind}-{name}")),
        silent=silent,
        polarity=signs.get(given.choice("polarity", ("1", "0", "-1")), 0),
        site=given.choice("site", ("wrist", "finger", "head")) or "unknown",
    )


def address(kind: str, written: str, usual: int, host: str = HOST) -> tuple[str, int]:
    """Return host and port of ``[HOST:]PORT``.

    Raises:
        Refused: It is neither empty nor of this form.
    """
    found = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.]+\]|[^:\[\]/?]+):)?(\d{1,5})", written)
    port = usual if not written else int(found[2]) if found else 0
    if not 0 < port < 65536:
        raise Refused(
            f"{kind}: write {kind}:PORT, or {kind}:0.0.0.0:PORT for senders on other computers, "
            f"not {written!r}"
        )
    return ((found[1] or host).strip("[]") if found else host), port


def _listening(kind: str, host: str, port: int) -> str:
    wider = f"; a sender on another device needs {kind}:0.0.0.0:{port}" if host == HOST else ""
    return f"nothing comes to {host}:{port}: have the sender send there{wider}"


def create_udp(argument: str, options: Mapping[str, str], pace: Pace) -> Messages:
    """Return the device for ``json-udp[:[HOST:]PORT]``.

    Raises:
        Refused: The address or an option is invalid.
    """
    given = Options("json-udp", options, KEYS)
    host, port = address("json-udp", argument, UDP_PORT)

    def opening(device: Messages, clock: HostClock) -> AbstractAsyncContextManager[Inbox]:
        return udp_listener(device.host, device.port, clock)

    silent = _listening("json-udp", host, port)
    return _create("json-udp", given, host, port, opening, name=str(port), silent=silent)


def create_websocket(argument: str, options: Mapping[str, str], pace: Pace) -> Messages:
    """Return the device for ``json-ws[:[HOST:]PORT]``.

    Raises:
        Refused: The address or an option is invalid.
    """
    keys = {**KEYS, "origin": "address of the web page whose scripts may send, if any"}
    given = Options("json-ws", options, keys)
    host, port = address("json-ws", argument, WS_PORT)
    origin = given.text("origin")

    def opening(device: Messages, clock: HostClock) -> AbstractAsyncContextManager[Inbox]:
        return websocket_listener(device.host, device.port, origin, clock)

    silent = _listening("json-ws", host, port)
    return _create("json-ws", given, host, port, opening, name=str(port), silent=silent)


def create_mqtt(argument: str, options: Mapping[str, str], pace: Pace) -> Messages:
    """Return the device for ``json-mqtt:TOPIC[?broker=HOST:PORT&user=…&password_file=…]``.

    Raises:
        Refused: The topic or an option is invalid, or the file of the password is missing.
    """
    keys = {
        **KEYS,
        "broker": f"address of the broker, HOST:PORT ({BROKER})",
        "tls": "on to encrypt",
        "user": "user name at the broker",
        "password_file": "file with the password",
    }
    given = Options("json-mqtt", options, keys)
    tls = given.flag("tls", False)
    broker = given.text("broker") or BROKER
    host, port = address("json-mqtt", broker if ":" in broker else f"{broker}:1883", 1883)
    password = None
    if (file := given.text("password_file")) is not None:
        try:
            password = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise Refused(f"json-mqtt: {file} cannot be read ({error}): name a file") from error
    topic = argument or TOPIC
    wanted = Subscription(host, port, topic, tls, given.text("user"), password)
    wanted.check()

    def opening(device: Messages, clock: HostClock) -> AbstractAsyncContextManager[Inbox]:
        return mqtt_subscriber(wanted, clock)

    silent = f"nothing is published on {topic} at {host}:{port}: check the sender's topic"
    return _create("json-mqtt", given, host, port, opening, name=topic, silent=silent)
