"""A connection against a real mosquitto: its socket, its end, and a slow way there."""

from __future__ import annotations

import asyncio
import signal
import socket

import pytest

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import MqttConnection, connect
from support.brokers import Broker
from support.relay import relay

LARGE = Parcel(("a",), bytes(20_000))


async def test_a_small_message_does_not_wait_for_the_one_before(mosquitto: Broker) -> None:
    broker = mosquitto()
    async with connect(Address.parse(broker.url)) as link:
        assert link._client.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_nothing_is_acknowledged_over_a_connection_that_was_given_up(
    mosquitto: Broker,
) -> None:
    """The broker stands still, the socket is full, and both recover too late."""
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 0")
    before = asyncio.all_tasks()
    acknowledged = list[int]()
    async with connect(Address.parse(broker.url)) as link:
        link.on_acknowledged = lambda number, _: acknowledged.append(number)
        broker.signal(signal.SIGSTOP)
        for _ in range(900):
            link.send(LARGE, "a")
        link.flush()
        assert link._client.want_write()
    broker.signal(signal.SIGCONT)
    await asyncio.sleep(0.5)
    assert acknowledged == []
    assert asyncio.all_tasks() == before


@pytest.mark.slow
async def test_a_slow_link_on_which_the_broker_answers_is_alive(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ping waits behind 5 s of messages, five times its own limit."""
    monkeypatch.setattr("innpar.stream.mqtt.connection._KEEPALIVE", 1)
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 0")
    acknowledged = list[int]()
    done = asyncio.Event()

    def take(number: int, refusal: str | None) -> None:
        acknowledged.append(number)
        if len(acknowledged) == 500:
            done.set()

    async with (
        relay(broker.port, lambda _: False, pause=0.01) as port,
        connect(Address("127.0.0.1", port)) as link,
    ):
        link.on_acknowledged = take
        for _ in range(500):
            link.send(Parcel(("a",), b"x"), "a")
        async with asyncio.timeout(60):
            waiting = {asyncio.create_task(done.wait()), asyncio.create_task(_received(link))}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert done.is_set(), f"lost after {len(acknowledged)} acknowledgements"


async def _received(link: MqttConnection) -> None:
    async for _ in link.received():
        pass
