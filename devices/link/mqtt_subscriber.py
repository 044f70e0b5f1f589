"""Messages on one MQTT topic: the only MQTT client outside `stream.mqtt`, and it only receives."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from innpar.devices.base import HostClock, OutOfReach, Refused
from innpar.devices.link.inbox import Arrival, Inbox
from innpar.devices.link.udp_listener import CHANNEL

if TYPE_CHECKING:
    from aiomqtt import Client

LARGEST = 65536
"""Most bytes of a message; larger ones are ignored."""

SECONDS = 5.0
"""Time limit of connecting and subscribing, s."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_quiet = logging.getLogger(f"{__name__}.paho")
_quiet.setLevel(logging.CRITICAL)  # every one of its warnings also comes as an exception


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic of a broker.

    Attributes:
        tls: Whether the connection is encrypted.
        user, password: Credentials; None for none.
    """

    host: str
    port: int
    topic: str
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def check(self) -> None:
        """Check the topic, and that no password crosses the network unencrypted.

        Raises:
            Refused: The topic has wildcards, or the password would cross the network.
        """
        if not self.topic or any(sign in self.topic for sign in "#+\0"):
            raise Refused(
                f"json-mqtt: {self.topic!r} must be one topic, without # and +: several senders "
                "need several devices"
            )
        if self.password is not None and not self.tls and self.host not in LOOPBACK:
            raise Refused(
                f"json-mqtt: {self.host} would receive the password unencrypted: add ?tls=on"
            )


@asynccontextmanager
async def mqtt_subscriber(wanted: Subscription, clock: HostClock) -> AsyncIterator[Inbox]:
    """Connect, subscribe and receive while inside; the inbox is closed when the broker is lost.

    Retained messages are ignored: they are of any age.

    Raises:
        OutOfReach: The broker cannot be reached.
        Refused: It refuses the connection or the subscription.
    """
    import aiomqtt

    where = f"{wanted.host}:{wanted.port}"
    client = aiomqtt.Client(
        wanted.host,
        wanted.port,
        username=wanted.user,
        password=wanted.password,
        tls_context=ssl.create_default_context() if wanted.tls else None,
        timeout=SECONDS,
        max_queued_incoming_messages=256,
        logger=_quiet,
    )
    inbox = Inbox(clock, f"the broker {where} is lost")
    try:
        await client.__aenter__()
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        await _drop(client)
        raise _error(f"the broker {where} cannot be used: {error}", error) from error
    except asyncio.CancelledError:
        await _drop(client)
        raise
    try:
        (code,) = await client.subscribe(wanted.topic, qos=1)
        value = code if isinstance(code, int) else code.value
        if value >= 0x80:
            raise Refused(
                f"the broker {where} refuses the topic {wanted.topic}: allow user "
                f"{wanted.user or '-'} to read it in the broker's ACL"
            )
        receiving = asyncio.ensure_future(_receive(client, inbox, clock))
        try:
            yield inbox
        finally:
            receiving.cancel()
            await asyncio.wait({receiving})
    except aiomqtt.MqttError as error:
        raise _error(f"the broker {where} cannot be used: {error}", error) from error
    finally:
        try:
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
        finally:
            await _drop(client)


async def _drop(client: Client) -> None:
    """Close what aiomqtt leaves open, and alive, when a broker is too slow to answer."""
    await asyncio.sleep(0)  # it registers the socket in the next pass of the event loop
    client._disconnected.cancel()  # else reported, if closed later, as never retrieved
    client._client._sock_close()
    if client._misc_task is not None:
        client._misc_task.cancel()
        await asyncio.wait({client._misc_task})


async def _receive(client: Client, inbox: Inbox, clock: HostClock) -> None:
    """Post messages until the broker is lost."""
    import aiomqtt

    try:
        async for message in client.messages:
            payload = message.payload
            if not message.retain and isinstance(payload, bytes) and len(payload) <= LARGEST:
                inbox.post(Arrival(CHANNEL, clock.now(), payload))
    except aiomqtt.MqttError:
        return
    finally:
        inbox.close()


def _error(text: str, error: Exception) -> OutOfReach | Refused:
    """Return the error of a broker that is not there, or that refuses the credentials."""
    reason = str(error).lower()
    if "authori" in reason or "password" in reason:
        return Refused(f"{text}: give ?user=… and ?password_file=…")
    return OutOfReach(f"{text}: start it, or name another with ?broker=HOST:PORT")
