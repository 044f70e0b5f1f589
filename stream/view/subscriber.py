"""Content of the page from a broker: whatever other processes publish."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from typing import Any

from innpar.stream.errors import BrokerError
from innpar.stream.messages.raw import readable
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import Received, connect
from innpar.stream.view.board import Board

log: logging.Logger = logging.getLogger(__name__)

KINDS = ("beats", "abp", "ppg", "summary", "events", "state", "meta")
"""Last levels of the topics that the page shows."""
AGAIN = 2.0
"""s between two attempts to reach a broker that has gone away."""


async def follow(address: Address, root: str, board: Board) -> None:
    """Show the messages of a broker for ever; reconnect when it goes away.

    Raises:
        BrokerError: It cannot be reached at first, or refuses the subscription.
    """
    topic, reached = f"{root}/devices/#", False
    state = {"broker": "away", "queued": 0}
    board.status = lambda: state
    while True:
        try:
            async with connect(address) as link:
                refusal = await link.listen(topic)
                if refusal is not None:
                    reached = False
                    raise BrokerError(
                        f"{address} refuses a subscription to {topic!r} ({refusal}): "
                        "check this user's read permission"
                    )
                reached, state["broker"] = True, "connected"
                async with aclosing(link.received()) as messages:
                    async for message in messages:
                        show(message, root, board)
        except BrokerError:
            if not reached:
                raise
            state["broker"] = "away"
            await asyncio.sleep(AGAIN)


def show(message: Received, root: str, board: Board) -> None:
    """Show one message; one that does not keep to the contract is left out."""
    device, _, kind = message.topic.removeprefix(f"{root}/devices/").rpartition("/")
    if kind not in KINDS or not device:
        return
    try:
        payload = content(message, kind)
        queued = message.headers.get("queued_ms", "")
        if kind == "beats" and queued.isdecimal():
            payload["queued_ms"] = int(queued[:12])
        board.take(device[:64], kind, payload)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        log.info("%s: a message that cannot be shown: %s", message.topic, error)


def content(message: Received, kind: str) -> dict[str, Any]:
    """Return the payload of a message.

    Raises:
        ValueError: It is no JSON.
        TypeError: It is JSON of another kind than an object.
    """
    if kind == "state":
        return {"state": message.payload[:20].decode("ascii")}
    raw = readable(message.payload, message.headers)
    payload = json.loads(message.payload) if raw is None else raw
    if not isinstance(payload, dict):
        raise TypeError("not a JSON object")
    return payload
