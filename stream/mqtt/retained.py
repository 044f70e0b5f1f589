"""Retained messages of a device on a broker: found, and cleared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from innpar.stream.errors import BrokerError
from innpar.stream.messages.home_assistant import PREFIX, config_topic
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.connection import MqttConnection

QUIET = 0.5
"""s without a retained message, after which no more come."""
CLEARING = 5.0
"""s until the broker has cleared them."""


async def retained_of(link: MqttConnection, device: str, root: str) -> dict[str, bytes]:
    """Return the retained messages of a device, by topic.

    Raises:
        BrokerError: The broker refuses to show them.
    """
    own = (f"{root}/devices/{device}/+", f"{root}/entry/{device}/+")
    for topic in (*own, config_topic(device, root, PREFIX)):
        if (refusal := await link.listen(topic)) is not None:
            raise BrokerError(f"the broker refuses a subscription to {topic} ({refusal})")
    found: dict[str, bytes] = {}
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(QUIET) as limit:
            async for message in link.received():
                if message.retained:
                    found[message.topic] = message.payload
                    limit.reschedule(loop.time() + QUIET)
    except TimeoutError:
        return found
    return found


async def clear(link: MqttConnection, topics: Sequence[str]) -> None:
    """Clear retained messages; returns once the broker has passed on that they are empty.

    Raises:
        BrokerError: The broker does not do so.
    """
    left = set(topics)
    for topic in topics:
        link.send(Parcel((topic,), b"", retain=True), topic)
    try:
        async with asyncio.timeout(CLEARING):
            async for message in link.received():
                if not message.payload:
                    left.discard(message.topic)
                if not left:
                    return
    except TimeoutError:
        raise BrokerError(
            f"the broker has not cleared {min(left)}: check this user's right to write it"
        ) from None
