"""The headline command in a process, from bleak's own backend on a fake BlueZ to MQTT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import SystemClock
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.devices.virtual.world.light import FromChunks
from support.harness import need_dbus

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")

PROGRAM = (sys.executable, "-m", "innpar.stream.cli.main", "--device", "polar-verity")


async def until(what: Callable[[], bool], seconds: float = 60) -> None:
    last = time.monotonic() + seconds
    while not what():  # the broker's messages come to a file
        assert time.monotonic() < last, "the condition was not reached"
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_scan_to_estimates_and_back_from_every_loss(
    mosquitto: Callable[..., Any], listen: Callable[..., Any]
) -> None:
    need_dbus()
    broker = mosquitto()
    heard = listen(broker.port, "bp/estimates", "bp/devices/+/events", "bp/devices/+/state")

    def beats() -> list[dict[str, Any]]:
        return [message.json for message in heard.heard("bp/estimates")]

    def events(kind: str) -> list[dict[str, Any]]:
        topic = "bp/devices/polar-verity-8a3f1b2c/events"
        messages = [message.json for message in heard.heard(topic)]
        return [event for event in messages if event["kind"] == kind]

    clock = SystemClock()
    wearer = Simulated(rate=176, dropouts=False, motion=False)
    sensor = VirtualPolar(clock, FromChunks(wearer.items(0)))
    async with bluez([sensor]) as fake:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "--rate", "176", "--broker", broker.url, stderr=asyncio.subprocess.PIPE
        )
        try:
            await until(lambda: len(beats()) >= 3)
            sensor.hang_up()
            await until(lambda: len(events("connected")) == 2)
            await until(lambda: len(events("gap")) == 1)
            await fake.unplug()
            await until(lambda: len(events("disconnected")) == 2)
            fake.plug_in()
            await until(lambda: len(events("connected")) == 3 and len(events("gap")) == 2)
            sensor.power(False)
            await until(lambda: len(events("disconnected")) == 3)
            sensor.power(True)
            await until(lambda: len(events("connected")) == 4 and len(events("gap")) == 3)
            so_far = len(beats())
            await until(lambda: sum(beat["valid"] for beat in beats()[so_far:]) >= 3)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()
    assert {beat["source"] for beat in beats()} == {"live"}
    assert {beat["device"] for beat in beats()} == {"polar-verity-8a3f1b2c"}
    lost = [gap["detail"]["lost"] for gap in events("gap")]
    assert lost[0] > 0
    assert lost[1] > 0
    assert lost[2] is None  # the clock restarted with the sensor, so the loss is unknown
    seconds = [gap["end"] - gap["t"] for gap in events("gap")]
    for count, length in zip(lost[:2], seconds[:2], strict=True):
        assert abs(count - (length * 176 - 1)) < 2
    assert [e["detail"]["rate"] for e in events("connected")] == [176.0] * 4
    folder = f"{os.environ['XDG_STATE_HOME']}/innpar-stream/address"
    assert os.listdir(folder) == ["polar-verity.json"]
