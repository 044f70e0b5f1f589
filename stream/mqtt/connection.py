"""One connection to a broker. The only file that uses aiomqtt.

Publishing is handing over: `MqttConnection.send` returns at once, the acknowledgement comes back
with its reason code. The messages of one pass of the event loop are one write to the socket.
aiomqtt keeps the reason code to itself and takes one task a message, and paho a write a message,
hence the subclass: it publishes by itself and leaves the rest to them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from innpar.stream.errors import BrokerError
from innpar.stream.messages.commands import Reply
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.packets import properties, publish
from innpar.stream.mqtt.probe import probe, tls_context
from innpar.stream.mqtt.tapped import TappedSocket

IN_FLIGHT = 1000
"""QoS 1 messages without an acknowledgement, if the broker's Receive Maximum is not lower."""
IN_FLIGHT_311 = 20
"""The same under MQTT 3.1.1, where a broker does not state it; what mosquitto takes by default."""
_PUBLISH_QOS1 = 0x32
"""First byte under which paho writes our packets; it reports nothing about such a one."""

_KEEPALIVE = 15
_HANDSHAKE = 5.0
"""s. amqtt, which is 3.1.1 only, waits for ever for the rest of an MQTT 5 greeting with a will."""
_ANSWER = 10.0
"""s for the answer to a subscription."""

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.paho")
_quiet.setLevel(logging.CRITICAL)  # every one of its warnings also comes as an exception

ProtocolVersion = aiomqtt.ProtocolVersion
V311 = aiomqtt.ProtocolVersion.V311
V5 = aiomqtt.ProtocolVersion.V5


LARGEST_PACKET = 64 * 1024
"""Bytes of a packet that we accept, such as a command."""


class LinkLost(BrokerError):
    """The connection has been lost.

    Attributes:
        closed: Whether the broker closed it, rather than falling silent.
        code: Its reason (MQTT 5), or None.
    """

    def __init__(self, message: str, *, closed: bool = False, code: int | None = None) -> None:
        super().__init__(message)
        self.closed = closed
        self.code = code

    @property
    def taken_over(self) -> bool:
        """Whether another process has connected with the same client id."""
        return self.code == _TAKEN_OVER


class TooLarge(BrokerError):
    """The broker does not accept a message of this size."""


class _ProtocolRefused(BrokerError):
    """The broker does not support this version of MQTT."""


@dataclass(frozen=True, slots=True)
class Received:
    """A received message.

    Attributes:
        retained: Whether the broker had kept it, rather than being sent just now.
        reply: Destination of the answer (MQTT 5).
        correlation: Links an answer to its request (MQTT 5).
        headers: User properties (MQTT 5).
    """

    topic: str
    payload: bytes
    retained: bool
    reply: Reply | None
    correlation: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


_LOST = "the connection to the broker is lost"
_TAKEN_OVER = 142
_KEEPALIVE_OVER = 141
TOO_LARGE = 149
"""Reason code: packet too large."""

Acknowledged = Callable[[int, str | None], None]
"""Called with the number that `MqttConnection.send` returned, and the reason of a refusal."""


class MqttConnection(aiomqtt.Client):
    """An open connection; made by `connect`.

    Attributes:
        in_flight: Unacknowledged QoS 1 messages that the broker accepts.
        packet_limit: Bytes of the largest packet that the broker accepts; None without a limit.
        missed: Commands lost because they arrived faster than they were read.
        on_acknowledged: Called for every message handed over by `send`.
        version: Of MQTT, as agreed.
    """

    in_flight = IN_FLIGHT
    packet_limit: int | None = None
    missed = 0
    on_acknowledged: Acknowledged | None = None
    version = V5

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._opened = asyncio.Event()
        self._end: object = None
        self._thread = threading.get_ident()
        self._outgoing: list[bytes] = []
        self._unwritten: list[int] = []  # numbers of QoS 0
        self._unacknowledged: set[int] = set()
        self._held: deque[tuple[int, bytes]] = deque()  # beyond `in_flight`
        self._body: tuple[Parcel | None, tuple[tuple[str, str], ...], bytes] = None, (), b""
        self._last = 0
        self._is_flushing = self._is_due = False
        for outcome in (self._connected, self._disconnected):
            outcome.add_done_callback(_retrieve)

    def send(self, parcel: Parcel, topic: str, *more: tuple[str, str]) -> int:
        """Hand a message over and return its number; `on_acknowledged` follows.

        Args:
            parcel: The message.
            topic: One of its topics.
            more: User properties beside its own (MQTT 5).

        Raises:
            LinkLost: The connection is lost; nothing was handed over.
            TooLarge: The broker does not accept so many bytes.
        """
        if self._client.socket() is None:
            raise _lost(self._end)
        if self.version is V5 and (parcel is not self._body[0] or more != self._body[1]):
            self._body = parcel, more, properties(parcel, *more)
        number = self._next(parcel.qos)
        packet = publish(parcel, topic, max(number, 0), self._body[2])
        if self.packet_limit is not None and len(packet) > self.packet_limit:
            raise TooLarge(
                f"it has {len(packet)} bytes, and the broker accepts {self.packet_limit}"
            )
        if not parcel.qos:
            self._unwritten.append(number)
        elif len(self._unacknowledged) >= self.in_flight:
            self._held.append((number, packet))
            return number
        else:
            self._unacknowledged.add(number)
        self._put(packet)
        return number

    def flush(self) -> None:
        """Write what was handed over to the socket, as far as it takes it."""
        self._is_due = False
        if not self._outgoing or self._client.socket() is None:
            return
        data, self._outgoing = b"".join(self._outgoing), []
        self._is_flushing = True  # so that the loop is not asked to wait for the socket
        try:
            self._client._packet_queue(_PUBLISH_QOS1, data, 0, 1)
        finally:
            self._is_flushing = False
        self._write(self._client)
        sock = self._client.socket()
        if sock is not None and self._client.want_write():
            self._on_socket_register_write(self._client, None, sock)

    def _put(self, packet: bytes) -> None:
        self._outgoing.append(packet)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.flush)

    def _next(self, qos: int) -> int:
        """Return a number for a message: a packet identifier, or a negative one for QoS 0."""
        if not qos:
            self._last -= 1
            return self._last
        while True:  # shared with the subscriptions
            number: int = self._client._mid_generate()
            if number not in self._unacknowledged:
                return number

    def _settle(self, number: int, code: int) -> bool:
        """Take an acknowledgement; return whether it is of a message of ours."""
        if number not in self._unacknowledged:
            return False
        self._unacknowledged.discard(number)
        # paho does not see it, and would end a connection on which its ping waits behind our data.
        self._client._last_bytes_received, self._client._ping_t = time.monotonic(), 0
        if self._held:
            following, packet = self._held.popleft()
            self._unacknowledged.add(following)
            self._put(packet)
        if self.on_acknowledged is not None:
            failed = code >= 0x80
            reason = str(ReasonCode(PacketTypes.PUBACK, identifier=code)) if failed else None
            self.on_acknowledged(number, reason)
        return True

    async def listen(self, topic: str) -> str | None:
        """Subscribe with QoS 1; return the reason if the broker refuses."""
        try:
            with _keeping_cancellation():
                (code,) = await self.subscribe(topic, qos=1)
        except aiomqtt.MqttError:
            raise _lost(self._end) from None
        value = code.value if isinstance(code, ReasonCode) else code
        return str(code) if value >= 0x80 else None

    async def received(self) -> AsyncGenerator[Received, None]:
        """Iterate over the received messages, until `LinkLost`."""
        try:
            async for message in self.messages:
                yield _received(message)
        except aiomqtt.MqttError:
            raise _lost(self._end) from None

    async def drop(self) -> None:
        """Close the socket and end the task that aiomqtt leaves when it gives up an answer.

        Otherwise a broker that recovers acknowledges over it, by numbers that the next connection
        uses again.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._opened.wait()
        self._client._sock_close()
        if self._misc_task is not None:
            self._misc_task.cancel()
            await asyncio.wait({self._misc_task})

    def _client_connect(self) -> None:
        # In a thread that continues after a cancellation.
        try:
            super()._client_connect()
        finally:
            self._loop.call_soon_threadsafe(self._opened.set)

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        limit = IN_FLIGHT if self.version is V5 else IN_FLIGHT_311
        self.in_flight = min(limit, getattr(properties, "ReceiveMaximum", limit))
        self.packet_limit = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        self.missed += self._queue.full() and "/cmd/" in message.topic  # aiomqtt drops it then
        super()._on_message(client, userdata, message)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        if not self._connected.done():
            # aiomqtt would wait for its time-out here.
            self._connected.set_exception(aiomqtt.MqttError("closed during the handshake"))
        self._end = reason_code
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        client._sock = TappedSocket(sock, self._settle)
        super()._on_socket_open(client, userdata, client._sock)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        if self._is_flushing:
            return

        # aiomqtt registers it later, when the number may belong to no socket, or to another one.
        def register() -> None:
            if (number := sock.fileno()) >= 0 and client.socket() is sock:
                self._loop.add_writer(number, self._write, client)

        if threading.get_ident() == self._thread:
            register()
        else:
            self._loop.call_soon_threadsafe(register)

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:
        if (number := sock.fileno()) >= 0:
            self._loop.remove_writer(number)

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        self._on_socket_unregister_write(client, userdata, sock)
        super()._on_socket_close(client, userdata, sock)

    def _write(self, client: Any) -> None:
        try:
            client.loop_write()
        except Exception as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
        if client.socket() is not None and not client.want_write():
            written, self._unwritten = self._unwritten, []
            if self.on_acknowledged is not None:
                for number in written:
                    self.on_acknowledged(number, None)


@asynccontextmanager
async def connect(
    address: Address,
    *,
    client_id: str | None = None,
    will: Parcel | None = None,
    version: ProtocolVersion | None = None,
) -> AsyncIterator[MqttConnection]:
    """Connect with MQTT 5, or with 3.1.1 if the broker supports no more.

    Args:
        address: The broker.
        client_id: Of this process; random if None.
        will: Message that the broker publishes when the connection is lost.
        version: Of an earlier connection; the broker is not expected to have changed.

    Raises:
        BrokerError: The broker cannot be reached, or refuses access.
    """
    address.check_password()
    context = tls_context(address)
    await probe(address, context)
    link = await _greet(address, context, client_id, will, version)
    link.timeout = _ANSWER
    try:
        yield link
    finally:
        link.timeout = 0.3
        link.flush()
        try:
            with suppress(aiomqtt.MqttError), _keeping_cancellation():
                await link.__aexit__(None, None, None)
        finally:
            await link.drop()


async def _greet(
    address: Address,
    context: ssl.SSLContext | None,
    client_id: str | None,
    will: Parcel | None,
    version: ProtocolVersion | None,
) -> MqttConnection:
    if not address.only_311 and version is not V311:
        link = _client(address, context, V5, client_id, will)
        try:
            await _enter(link, address)
            return link
        except _ProtocolRefused as error:
            if version is V5:  # it is only slow today
                raise
            _log.warning("%s; using 3.1.1, under which refused messages go unnoticed", error)
    link = _client(address, context, V311, client_id, will)
    await _enter(link, address)
    return link


def _client(
    address: Address,
    context: ssl.SSLContext | None,
    version: aiomqtt.ProtocolVersion,
    client_id: str | None,
    will: Parcel | None,
) -> MqttConnection:
    link = MqttConnection(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        identifier=client_id,
        protocol=version,
        will=None if will is None else _will(will, version),
        timeout=_HANDSHAKE,
        keepalive=_KEEPALIVE,
        properties=_greeting() if version is V5 else None,
        tls_context=context,
        logger=_quiet,
        max_queued_incoming_messages=1000,
    )
    link.version = version
    return link


def _greeting() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.MaximumPacketSize = LARGEST_PACKET
    return properties


async def _enter(link: MqttConnection, address: Address) -> None:
    try:
        with _keeping_cancellation():
            await link.__aenter__()
    except aiomqtt.MqttError as error:
        await link.drop()
        if isinstance(error, MqttConnectError):
            raise _refusal(error, address) from None
        if isinstance(error.__context__, TimeoutError):  # aiomqtt gives it no type of its own
            if link.version is V5:
                raise _ProtocolRefused(f"{address} does not answer MQTT 5") from None
            message = f"{address} accepts connections but does not answer: is it an MQTT broker?"
        else:
            cure = "is it an MQTT broker, or one with TLS?"
            if address.tls and address.cert is None:
                cure = "if it requires a client certificate, add ?cert=FILE&key=FILE"
            message = f"{address} closed the connection ({error}): {cure}"
        raise BrokerError(message) from None
    except asyncio.CancelledError:
        await link.drop()
        raise


def _retrieve(outcome: asyncio.Future[None]) -> None:
    """Keep asyncio from reporting an outcome that another task has learnt first."""
    if not outcome.cancelled():
        outcome.exception()


@contextmanager
def _keeping_cancellation() -> Iterator[None]:
    """Raise a cancellation that was lost inside.

    aiomqtt waits with `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that
    coincides with the answer; the task would then run for ever. The count is compared with the one
    before, because a failed `TaskGroup` leaves its own behind (Python 3.11).
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def _refusal(error: MqttConnectError, address: Address) -> BrokerError:
    code = error.rc.value if isinstance(error.rc, ReasonCode) else int(error.rc or 0)
    if code in (1, 132):
        return _ProtocolRefused(
            f"{address} supports neither MQTT 5 nor 3.1.1: use another --broker"
        )
    if code in (4, 5, 134, 135, 140):
        if address.username is None:
            return BrokerError(
                f"{address} requires a user name and password: give mqtt://user:password@{address.host}"
            )
        return BrokerError(
            f"{address} refuses user {address.username!r}: check the name and password in the URL"
        )
    return BrokerError(f"{address} refuses the connection: {error.rc}")


def _lost(code: object) -> LinkLost:
    """Return the loss of a connection with the broker's reason code, if it gave one."""
    if not isinstance(code, ReasonCode) or code.value <= 128:
        return LinkLost(_LOST, closed=isinstance(code, ReasonCode))
    text = f"{_LOST}: {code}"
    if code.value == _TAKEN_OVER:
        text = f"{_LOST}: another process with the same name has taken it over"
    return LinkLost(text, closed=code.value != _KEEPALIVE_OVER, code=code.value)


def _will(parcel: Parcel, version: aiomqtt.ProtocolVersion) -> aiomqtt.Will:
    properties = None
    if version is V5:
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # paho's
        properties.PayloadFormatIndicator = 1
        properties.ContentType = parcel.content_type
        properties.UserProperty = list(parcel.headers)
    return aiomqtt.Will(parcel.topics[0], parcel.payload, parcel.qos, parcel.retain, properties)


def _received(message: aiomqtt.Message) -> Received:
    payload = message.payload if isinstance(message.payload, bytes) else b""
    properties = message.properties
    topic = getattr(properties, "ResponseTopic", None)
    correlation = getattr(properties, "CorrelationData", None)
    reply = Reply(topic, correlation) if topic else None
    headers = dict(getattr(properties, "UserProperty", []))
    return Received(str(message.topic), payload, message.retain, reply, correlation, headers)
