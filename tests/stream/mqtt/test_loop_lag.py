"""The watchdog of the event loop."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.loop_lag import LoopLag
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.results import State
from support.brokers import Broker
from support.listening import Listener
from support.schemas import schema


async def test_a_stalled_loop_is_measured_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innpar.stream.mqtt.loop_lag.WINDOW", 0.5)
    lag = LoopLag()
    task = asyncio.create_task(lag.measure())
    await asyncio.sleep(0.05)
    time.sleep(0.6)  # noqa: ASYNC251  # the stall
    await asyncio.sleep(0.05)
    assert 0.3 < lag.longest < 5
    async with asyncio.timeout(10):
        while lag.longest > 0.3:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})


async def test_it_is_published_with_the_process(mosquitto: Broker, listen: type[Listener]) -> None:
    broker = mosquitto()
    async with MqttSink.open(Address.parse(broker.url), node="bed4") as sink:
        await asyncio.sleep(0.2)
        time.sleep(0.6)  # noqa: ASYNC251  # the stall
        await asyncio.sleep(0.1)
        await sink.send(State("demo", "online"))
        await sink.flush()
        await asyncio.sleep(0.1)
        listener = await asyncio.to_thread(listen, broker.port, "bp/bridge/bed4/info")
        (info,) = listener.heard()[-1:]
    schema("bridge").validate(info.json)
    assert info.json["loop_lag_ms"] > 300
    assert json.loads(info.payload)["set_aside"] == 0
