"""10,000 malformed, oversized and rapid commands over a real broker, into a run."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from innpar.devices import NS
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, SystemClock
from innpar.stream.messages.commands import NAMES
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import connect
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.steering import run_commands
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.sinks.base import FanOut
from support.brokers import Broker
from support.harness import Keep, estimates, same, shipped, stream_all

COMMANDS = 10_000
START = 1_700_000_000 * NS
EXECUTED = ("mark", b'{"text":"stood up"}')
"""A command that is carried out and leaves the estimates as they are."""


def demo(speed: float) -> Simulated:
    return Simulated("demo", 5, duration=170.0, start=START, pace=Pace(speed, 1.0))


def malformed(rng: random.Random) -> tuple[str, bytes]:
    """Return a command's name and a payload, of which none may calibrate or record."""
    name = rng.choice(NAMES)
    values: list[Any] = [None, True, 1, -1e300, 10**40, "x", "\ud800", "\x00", [], {}, [[[]]], 59.9]
    keys = ["sbp", "dbp", "time", "confirm", "undo", "text", "record", "\ud800", "é", ""]
    kind = rng.randrange(8)
    if kind == 0:
        return name, rng.randbytes(rng.randrange(64))
    if kind == 1:
        return name, b'{"text":"' + b"x" * rng.randrange(65_000) + b'","x":1}'
    if kind == 2:
        return name, b'{"sbp":128,"sbp":128,"dbp":79}'
    if kind == 3:
        return "mark", b'{"text":"\\ud800"}'
    if kind == 4:
        return name, b"[" * rng.randrange(1, 5000)
    if kind == 5:
        return EXECUTED
    body = {rng.choice(keys): rng.choice(values) for _ in range(rng.randrange(6))}
    text = json.dumps({**body, "other": 1}, allow_nan=False)
    return name, text.encode()


async def until(there: Callable[[], bool], within: float = 90) -> None:
    async with asyncio.timeout(within):
        while not there():  # noqa: ASYNC110 — the broker's doing
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_each_of_ten_thousand_is_answered_or_counted_and_no_beat_differs(
    mosquitto: Broker,
) -> None:
    address, clock, keep = Address.parse(mosquitto().url), SystemClock(), Keep()
    engine, rng = Engine(shipped()), random.Random(12)
    answers = 0

    async def count(link: Any) -> None:
        nonlocal answers
        async for message in link.received():
            body = json.loads(message.payload)
            answers += message.topic.startswith("bp/reply/") or "refused" in str(body["detail"])

    async with MqttSink.open(address, node="flood") as sink, connect(address) as link:
        wearer = enrol(demo(10.0), engine, clock)
        out = FanOut([sink, keep])
        running = asyncio.create_task(run([wearer], engine, out, clock))
        commands = asyncio.create_task(run_commands(sink, [wearer], clock, None))  # type: ignore[arg-type]
        for topic in ("bp/reply/#", "bp/devices/demo/events"):
            await link.listen(topic)
        counting = asyncio.create_task(count(link))
        await until(lambda: wearer.streaming)
        await asyncio.sleep(0.5)  # until the sink has subscribed
        for number in range(COMMANDS):
            name, payload = malformed(rng)
            topic = f"bp/cmd/demo/{name}"
            reply = f"bp/reply/{number % 3}" if number % 4 else None
            link.send(Parcel((topic,), payload, response=reply), topic)
            if number % 5 == 0:
                await asyncio.sleep(0)
        parts = ("commands_done", "commands_refused", "commands_unanswered")
        await until(lambda: sink.counts["commands"] == COMMANDS)
        await until(lambda: sum(sink.counts[part] for part in parts) == COMMANDS)
        assert not commands.done()
        await running
        await sink.flush()
        counts = sink.counts
        await until(lambda: answers >= counts["commands_refused"])
        for task in (commands, counting):
            task.cancel()
        await asyncio.gather(commands, counting, return_exceptions=True)
    assert counts["dropped"] == counts["dropped_waveforms"] == 0
    assert counts["commands_done"] > 20
    assert counts["commands_refused"] > 100
    items, _, _ = await asyncio.to_thread(stream_all, [demo(float("inf"))])
    undisturbed = estimates(items)
    assert len(undisturbed) > 100
    assert same(estimates(keep.items), undisturbed)
