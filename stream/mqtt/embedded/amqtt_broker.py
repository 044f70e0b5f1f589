"""The embedded broker as an amqtt, which speaks MQTT 3.1.1 only and listens here only."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence

from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import BrokerConfig, ListenerConfig  # type: ignore[import-untyped]
from amqtt.errors import BrokerError  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

from innpar.stream.mqtt.broker import FIRST_PORT, HOST, PORTS, BrokerSettings

_LAST_WORDS = 0.2
"""s for messages still on their way to subscribers."""


class _Broker(Broker):  # type: ignore[misc]
    """Sends retained messages to their own subscribers only.

    amqtt 0.11 and 0.12 send a new client the messages retained for any client's subscription.
    """

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        own = self._subscriptions.get(subscription[0], ())
        if any(subscriber.client_id == session.client_id for subscriber, _ in own):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def _listen(ports: Sequence[int]) -> tuple[Broker, int]:
    """Start on the first free port."""
    for port in ports:
        broker = _Broker(
            BrokerConfig(
                listeners={"default": ListenerConfig(bind=f"{HOST}:{port}")},
                plugins={
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            )
        )
        try:
            await broker.start()
        except BrokerError:
            continue  # taken
        return broker, port
    raise SystemExit(1)


def _end_with_parent(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Wait in a thread for the end of standard input; then exit within a fixed time."""
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(ended.set)
    time.sleep(2 * _LAST_WORDS)
    os._exit(0)


async def _serve(settings: BrokerSettings) -> None:
    every = range(FIRST_PORT, FIRST_PORT + PORTS)
    _, port = await _listen([settings.port] if settings.port else every)
    print(port, flush=True)
    ended = asyncio.Event()
    waiting = (asyncio.get_running_loop(), ended)
    threading.Thread(target=_end_with_parent, args=waiting, daemon=True).start()
    await ended.wait()
    await asyncio.sleep(_LAST_WORDS)
    os._exit(0)  # nothing is stored, so nothing needs closing


def serve(settings: BrokerSettings) -> None:
    """Serve until the parent ends."""
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    asyncio.run(_serve(settings))
